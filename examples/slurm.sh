#!/bin/sh
# Train under Slurm, a task for each GPU, and go on by itself when the time is over or others need the machines:
#
#   sbatch examples/slurm.sh DATA RUN
#
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@300
data=$1 run=$2
shift 2
srun --kill-on-bad-exit=1 python -m mvit train "$data" --out "$run" --resume auto "$@" || exit
[ -f "$run/report.html" ] || scontrol requeue "$SLURM_JOB_ID"
