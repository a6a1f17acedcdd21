#!/bin/sh
# Stands for what a host does once when it starts.
echo "the cache is warm"
