"""Change one number of a model, and see what it costs: python examples/count_what_if.py [NAME]."""

import sys
from dataclasses import replace

from mvit.analysis.complexity import complexity
from mvit.model.presets import get_config


def main(name: str = "mvit_b_16x4") -> None:
    """Print parameters and multiply-adds of a preset and of variants that differ from it in one number each."""
    preset = get_config(name)
    t, h, w = preset.clip
    variants = {name: preset}
    if preset.stages > 1:  # else nothing is pooled
        variants["max pooling"] = replace(preset, pooling="max")
    if preset.positions == "separate":  # one table for space and one for time
        variants["one joint table of positions"] = replace(preset, positions="joint")
    if t > 1:
        variants["half the frames"] = replace(preset, clip=(t // 2, h, w))
    for said, config in variants.items():
        counted = complexity(config)
        print(f"{counted.parameters:12,d} parameters {counted.macs / 1e9:8.3f} GMAC  {said}")


if __name__ == "__main__":
    main(*sys.argv[1:])
