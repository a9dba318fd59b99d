#!/bin/sh
# What feeds a model, on this machine: the loader's memory, and clips/s of two data sets, as records in
# benchmarks/results. Ten minutes on two cores; nothing else should run meanwhile. From the root of the repository, with
# two folders that hold a train.csv each:
#
#   sh benchmarks/feeding.sh GESTURES ACTIONS
set -eu
: "${1:?a folder of gestures with a train.csv}" "${2:?a folder of actions with a train.csv}"
results=$(cd "$(dirname "$0")" && pwd)/results
mkdir -p "$results"

python benchmarks/loader_memory.py --out "$results/data-index-memory.json"
for recipe in gestures actions; do
    folder=$1
    shift
    (cd "$(dirname "$folder")" && mvit bench data "$(basename "$folder")/train.csv" --recipe $recipe --seconds 60 \
        --rounds 9 --out "$results/data-$recipe.json")
done
python benchmarks/table.py
