"""Kernels in Triton without a GPU: interpreted in a process of their own, or compiled for a GPU that is not there.

Triton decides when it is imported whether it interprets, so a file of such tests runs itself once more.
"""

import os
import subprocess
import sys

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

on_device = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()),
    reason="needs a CUDA GPU; test_under_the_interpreter runs it on this machine",
)

# How far sums of a few dozen products may be from those in float64, relative to the largest.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def run_interpreted(file):
    """The tests of a file, interpreted."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", file]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def assert_near(actual, expected, tolerance):
    assert actual.shape == expected.shape
    error = (actual.double() - expected.double()).abs().max()
    assert error <= tolerance * max(1, expected.abs().max()), f"{error=} of {expected.abs().max()}"


class AbsentGPU:
    """What Triton's launcher asks a driver before it compiles."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


def compile_only(monkeypatch, cache):
    """From now on kernels are compiled and not run; gives the dict that they come to lie in, by name."""
    from triton.runtime import JITFunction, driver

    compiled = {}

    def launcher(kernel, grid):
        def launch(*arguments, **options):
            compiled[kernel.__name__] = kernel.run(*arguments, grid=grid, warmup=True, **options)

        return launch

    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))
    monkeypatch.setattr(JITFunction, "__getitem__", launcher)
    monkeypatch.setattr(driver, "_active", AbsentGPU())
    return compiled
