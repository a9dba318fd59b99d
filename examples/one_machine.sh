#!/bin/sh
# Train on one machine with a process for each GPU (or, without GPUs, as many as are asked for):
#
#   sh examples/one_machine.sh 8 DATA --out RUN
#
# Where a process dies, torchrun starts all of them again, three times at most, and they go on from the last checkpoint.
processes=$1
shift
exec torchrun --standalone --nproc-per-node "$processes" --max-restarts 3 -m mvit train "$@"
