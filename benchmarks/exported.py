"""A published size as ONNX in ONNX Runtime beside the model and torchvision's, float32, random weights, one clip.

python benchmarks/exported.py RECORD.json [NAME ...]

Each export happens in a process of its own, whose wall and processor time and memory are recorded. Then all take their
turn in every round, on one thread. Needs the extra `export`.
"""

import argparse
import json
import multiprocessing
import resource
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mvit import baselines, create_model
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.deploy import graph, onnx_file
from mvit.files import require_writable
from mvit.model.mvit import MViT
from mvit.provenance import provenance, write
from mvit.studies.measure import Times, in_rounds
from mvit.studies.spread import ratios, spread

ROUNDS = 5
NAMES = ("mvit_b_16x4", "mvitv2_s_16x4")
KIBIBYTE = 1024


def export(name: str, path: Path) -> dict[str, Any]:
    """Write a preset as ONNX; the seconds it takes and the most memory that this process held."""
    model = seeded(name)
    frames, size, _ = model.config.clip
    preprocessing = Preprocessing(sampling=ClipSampling(frames=frames), short_side=size, crop=size)
    description = {
        "classes": [f"class {n}" for n in range(model.config.num_classes)],
        "preprocessing": preprocessing.to_dict(),
        "views": [1, 1],
    }
    wall, processor = time.perf_counter(), time.process_time()
    program = graph.traced(model, preprocessing)
    graph.write_onnx(program, json.dumps(description), path)
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE,
        "file_bytes": path.stat().st_size,
    }


def seeded(name: str) -> MViT:
    """The preset with the same random weights in each process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return create_model(name).eval()


def measured(name: str, folder: Path) -> dict[str, Any]:
    """What the export of a preset took, how far it is off and how fast it is."""
    path = folder / f"{name}.onnx"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        taken = pool.apply(export, (name, path))
    model, theirs = seeded(name), baselines.create(f"torchvision_{name}").eval()
    packed, file = model.optimize_for_inference(), onnx_file.load(path, threads=1)
    clip = torch.randn(1, 3, *model.config.clip, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(clip).numpy()
        off = np.abs(file.logits(clip.numpy()) - expected).max() / np.abs(expected).max()
        times: Times = {}
        tasks = {
            "onnx": lambda: file.logits(clip.numpy()),
            "ours": lambda: model(clip),
            "ours packed": lambda: packed(clip),
            "torchvision": lambda: theirs(clip),
        }
        in_rounds({task: _without_result(call) for task, call in tasks.items()}, times, ROUNDS, "cpu")
    over = {other: ratios(times["onnx"], times[other]).to_dict() for other in times if other != "onnx"}
    for other, ratio in over.items():
        print(f"{name}: onnx takes {ratio['median']:.2f} times as long as {other}", flush=True)
    print(
        f"{name}: exported in {taken['seconds']:.0f} s ({taken['processor_seconds']:.0f} of the processor)", flush=True
    )
    said = {task: spread(each).to_dict() for task, each in times.items()}
    return {"name": name, "export": taken, "off": float(off), "milliseconds": said, "onnx_over": over, "times": times}


def _without_result(call: Any) -> Any:
    def task() -> None:
        call()

    return task


def main(record: Path, names: list[str]) -> None:
    """Measure and write the record."""
    require_writable(record)
    with tempfile.TemporaryDirectory() as folder:
        models = [measured(name, Path(folder)) for name in names or NAMES]
    protocol = f"float32, one clip, one thread, random weights; {ROUNDS} rounds after 2, all in each, order drawn anew"
    content = {"command": shlex.join(["python", *sys.argv]), "protocol": protocol, "models": models}
    write(content | provenance("cpu", ["torchvision", "onnxruntime", "onnx", "onnxscript"]), record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("names", nargs="*")
    main(**vars(parser.parse_args()))
