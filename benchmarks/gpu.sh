#!/bin/sh
# Every measurement on a CUDA GPU, as records in benchmarks/results, after the tests of what runs there only. Nothing else
# should use the GPU meanwhile. Needs the extras `dev` and `baselines`. From the root of the repository:
#
#   sh benchmarks/gpu.sh
set -eu
cd "$(dirname "$0")/.."
results=benchmarks/results
mkdir -p "$results"

python - <<'END'
import sys, torch
from mvit.model import kernels
if not torch.cuda.is_available():
    sys.exit("error: torch sees no CUDA GPU here; benchmarks/cpu.sh measures without one")
if not kernels.installed:
    sys.exit("error: Triton is not installed; it comes with torch's CUDA wheels for Linux")
END

python -m pytest -m "slow or not slow" tests/model/test_kernels.py tests/model/test_norm_kernel.py \
    tests/model/test_compile.py tests/model/test_gpu.py tests/training/test_gpu.py

bench() { # NAME, then the command's words
    record=$1
    shift
    echo "== $record"
    mvit bench "$@" --device cuda --out "$results/gpu-$record.json"
}

v1="model mvit_b_16x4 --against torchvision_mvit_b_16x4"
v2="model mvitv2_s_16x4 --against torchvision_mvitv2_s_16x4"
for batch in 1 16; do
    bench forward-$batch $v1 --dtype autocast bfloat16 --batch $batch --compile --memory
    bench train-$batch $v1 --train --dtype autocast --batch $batch --compile --recompute --memory
    bench v2-forward-$batch $v2 --dtype autocast bfloat16 --batch $batch --compile --memory
    bench v2-train-$batch $v2 --train --dtype autocast --batch $batch --compile --memory
done
( # The same without the kernels: what they gain is the difference.
    export MVIT_KERNELS=0
    bench plain-forward-16 $v1 --dtype autocast bfloat16 --batch 16 --compile --memory
    bench plain-train-16 $v1 --train --dtype autocast --batch 16 --compile --memory
    bench plain-v2-train-16 $v2 --train --dtype autocast --batch 16 --compile --memory
)
( # Pooling's kernel alone: what the other gains, which compiled models go without, or loses by its launch.
    export MVIT_KERNELS=pooling
    bench pooling-forward-1 $v1 --dtype autocast bfloat16
    bench pooling-train-1 $v1 --train --dtype autocast --memory
    bench pooling-train-16 $v1 --train --dtype autocast --batch 16 --memory
)
bench rivals model mvit_b_16x4 mvitv2_s_16x4 vit_b_8x8 \
    --against hiera_b videomae_b video_swin_t x3d_m slowfast_r50 --dtype autocast --batch 16
bench long-train model mvit_b_64x3 --train --dtype autocast --recompute --memory
bench growth model mvit_b_16x4 --clip 16x224x224 32x224x224 64x224x224 16x320x320 --dtype autocast
bench plan plan mvit_b_16x4 --train --dtype autocast --memory 16GB

python benchmarks/table.py
