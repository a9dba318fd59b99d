#!/bin/sh
# Every measurement on a CPU, as records in benchmarks/results, and the table made from them. On two cores it takes less
# than an hour; nothing else should run meanwhile. Needs the extra `baselines`. From the root of the repository, with a
# name for the machine:
#
#   sh benchmarks/cpu.sh xeon
set -eu
cd "$(dirname "$0")/.."
machine=${1:?a name for the machine, such as xeon}
results=benchmarks/results
mkdir -p "$results"

bench() { # NAME, then the command's words
    record=$1
    shift
    echo "== $record"
    mvit bench "$@" --device cpu --out "$results/$machine-$record.json"
}

torchvision=torchvision_mvit_b_16x4
bench forward-1 model mvit_b_16x4 --against $torchvision --dtype float32 bfloat16 --packed
bench forward-4 model mvit_b_16x4 --against $torchvision --dtype float32 bfloat16 --packed --batch 4 --runs 7
bench v2-forward-1 model mvitv2_s_16x4 --against torchvision_mvitv2_s_16x4 --packed
bench train-1 model mvit_b_16x4 --against $torchvision --train --dtype autocast float32 --runs 7 --memory
bench train-8 model mvit_b_16x4 --against $torchvision --train --dtype autocast --recompute --batch 8 --runs 3 --memory
bench v2-train-1 model mvitv2_s_16x4 --against torchvision_mvitv2_s_16x4 --train --dtype autocast --runs 5 --memory
bench long-train model mvit_b_64x3 --train --dtype autocast --recompute --runs 3 --memory
bench growth model mvit_b_16x4 --clip 16x224x224 32x224x224 64x224x224 16x320x320 --runs 7
bench rivals model mvit_b_16x4 mvitv2_s_16x4 vit_b_8x8 \
    --against hiera_b videomae_b video_swin_t x3d_m slowfast_r50 --runs 9
bench peers-clips model mvit_b_16x4 --against pytorchvideo_mvit_b_16x4 --runs 9
bench peers-images model mvit_b_16_image mvitv2_s_image mvitv2_b_image \
    --against pytorchvideo_mvit_b_16_image timm_mvitv2_s_image timm_mvitv2_b_image vit_b_16 --batch 8 --runs 9
bench plan plan mvit_b_16x4 --train --dtype autocast --memory 16GB --runs 3
python benchmarks/full_resolution.py --out "$results/$machine-full-resolution.json"

python benchmarks/table.py
