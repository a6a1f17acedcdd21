#!/bin/sh
# Stands for a dump of a database.
set -e
mkdir -p dumps
date -u +%FT%TZ > "dumps/$1.sql"
echo "dumped $1"
