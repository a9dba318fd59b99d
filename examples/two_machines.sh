#!/bin/sh
# Train on two machines that reach each other, with 8 processes on each; the same on both, where HOST is one of them:
#
#   sh examples/two_machines.sh HOST 8 DATA --out RUN
#
# RUN need be on the first machine only; DATA lies at the same path on both.
host=$1 processes=$2
shift 2
exec torchrun --nnodes 2 --nproc-per-node "$processes" --max-restarts 3 \
    --rdzv-backend c10d --rdzv-endpoint "$host:${MASTER_PORT:-29400}" --rdzv-id "${RUN_ID:-mvit}" -m mvit train "$@"
