#!/bin/sh
# Stands for a report on orders: counts the files in orders/ that are newer than so many minutes.
set -e
mkdir -p orders
count=$(find orders -type f -mmin "-$2" | wc -l)
echo "$count orders in $2 min"
