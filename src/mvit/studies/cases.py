"""What is measured: a model in one setting, made with random weights, and one step of it.

A step is a forward pass in evaluation mode without gradients; in training it is a forward pass, cross-entropy, a
backward pass and AdamW in one kernel.
"""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn import functional as F

from mvit import baselines
from mvit.analysis import counter
from mvit.analysis.complexity import complexity
from mvit.baselines import BASELINES
from mvit.model.config import Triple
from mvit.model.mvit import MViT
from mvit.model.presets import PRESETS, get_config, nearest
from mvit.model.reversible import ReversibleBlock
from mvit.training.memory import is_lack_of_memory
from mvit.weights.build import Config, build
from mvit.weights.create import create_model

Dtype = Literal["float32", "bfloat16", "autocast"]
Way = Literal["eager", "compiled", "packed", "elementwise", "checkpointed"]
DEVICES = ("cpu", "cuda")
MACS_OF_A_STEP = 3
"""Multiply-adds of a training step over those of its forward pass: the backward pass has two products for each one."""
LEARNING_RATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model in one setting; ``clip`` is (frames, height, width), ``autocast`` is float32 weights under bfloat16.

    The ``way`` "compiled" is ``torch.compile``, "packed" our own ``optimize_for_inference``; in training, "elementwise"
    and "checkpointed" compute norms and GELU, or whole blocks, again in the backward pass.
    """

    name: str
    clip: Triple
    batch: int
    dtype: Dtype
    device: str
    train: bool = False
    way: Way = "eager"
    config: Config | None = None
    """Of a model at a size of its own, which ``name`` is only a name for; None: the model of that name."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; the size is in them where it is the case's own."""
        known = asdict(self) | {"clip": list(self.clip)}
        return known if self.config else {key: value for key, value in known.items() if key != "config"}

    @property
    def size(self) -> dict[str, Any] | None:
        """The configuration, as JSON gives it back."""
        return json.loads(json.dumps(self.config.to_dict())) if self.config else None

    @property
    def product_dtype(self) -> str:
        """What its matrix products are computed in."""
        return "float32" if self.dtype == "float32" else "bfloat16"


def cases(
    names: Sequence[str],
    clips: Sequence[Triple] = (),
    batches: Sequence[int] = (1,),
    dtypes: Sequence[str] = ("float32",),
    *,
    device: str | None = None,
    train: bool = False,
    compiled: bool = False,
    packed: bool = False,
    recompute: bool = False,
) -> list[Case]:
    """Every model in every setting, models next to each other; each at its own clip where no clip is given.

    ``compiled`` adds each one compiled, ``packed`` each of ours packed for inference, ``recompute`` each of ours that
    trains with norms and GELU computed again, and with every block. The device is a GPU where there is one.
    Raises ``ValueError`` for names, batches, types and devices that are none, for a name that is there twice, and for
    packing or recomputing where nothing can be.
    """
    for name in names:
        require_known(name)
    if len(set(names)) < len(names):
        raise ValueError(f"a model is measured once, and {', '.join(names)} names one twice")
    for batch in batches:
        if batch < 1:
            raise ValueError(f"a batch of {batch} clips cannot be measured: it has at least 1")
    for dtype in dtypes:
        if dtype not in get_args(Dtype):
            raise ValueError(f"no type of numbers is called {dtype!r}: there are {', '.join(get_args(Dtype))}")
    chosen = require_device(device)
    if packed and train:
        raise ValueError("--packed is for inference and --train measures training: leave one of them out")
    if packed and chosen != "cpu":
        raise ValueError(f"--packed is for a CPU, and the device is {chosen}: leave it out, or add --device cpu")
    if recompute and not train:
        raise ValueError("--recompute is for training: leave it out, or add --train")
    if (packed or recompute) and not PRESETS.keys() & set(names):
        asked = "--packed" if packed else "--recompute"
        raise ValueError(f"{asked} is for presets of ours, and {', '.join(names)} has none: leave it out, or name one")
    ours: list[Way] = [*(["packed"] if packed else []), *(["elementwise", "checkpointed"] if recompute else [])]  # type: ignore[list-item]
    ways: list[Way] = ["eager", *(["compiled"] if compiled else []), *ours]  # type: ignore[list-item]
    settings = product(clips or (None,), batches, dtypes, ways, names)
    made = [
        Case(
            name=name,
            clip=clip or own_clip(name),
            batch=batch,
            dtype=dtype,  # type: ignore[arg-type]
            device=chosen,
            train=train,
            way=way,
        )
        for clip, batch, dtype, way, name in settings
        if way not in ours or name in PRESETS
    ]
    if len(set(made)) < len(made):
        raise ValueError("a clip, a batch or a type of numbers is given twice")
    return made


def require_known(name: str) -> None:
    """Raise ``ValueError`` for a name that is neither a preset nor a baseline whose library is installed."""
    if name in BASELINES:
        baselines.require_installed(name)
    elif name not in PRESETS:
        raise ValueError(f"no model is called {name!r}: {nearest(name, [*PRESETS, *BASELINES])}")


def require_device(name: str | None) -> str:
    """The device of this name, or the best there is; raises ``ValueError`` where there is none such."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in DEVICES:
        raise ValueError(f"no device is called {name!r}: there are {' and '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here that this build of torch can use: --device cpu")
    return name


def own_clip(name: str) -> Triple:
    """The clip of (frames, height, width) that a model is made for."""
    return BASELINES[name].clip if name in BASELINES else get_config(name).clip


def macs(name: str, clip: Triple) -> int:
    """Multiply-adds of a clip's forward pass, on the attention as the papers write it.

    Raises ``ValueError`` where the model does not take such a clip.
    """
    if name not in BASELINES:
        return complexity(get_config(name), clip).macs
    try:
        return counter.count(lambda: baselines.create(name), clip).macs
    except (ValueError, RuntimeError, AssertionError, IndexError) as why:
        if clip == BASELINES[name].clip:
            raise
        size, own = ("x".join(map(str, each)) for each in (clip, BASELINES[name].clip))
        raise ValueError(f"{name} does not take clips of {size}: it is made for {own}") from why


class Subject:
    """A case in memory, ready to run: call it for one step."""

    def __init__(self, case: Case) -> None:
        self.case = case
        torch.manual_seed(0)
        kind = torch.bfloat16 if case.dtype == "bfloat16" else torch.float32
        made: nn.Module
        if case.config is not None:
            made = build(case.config)
        elif case.name in BASELINES:
            made = baselines.create(case.name)
        else:
            made = create_model(case.name, clip=case.clip)
        self.model: nn.Module = made.to(case.device, kind).train(case.train)
        self.clips = torch.randn(case.batch, 3, *case.clip, device=case.device, dtype=kind)
        self.labels = torch.zeros(case.batch, dtype=torch.long, device=case.device)
        self.optimizer: torch.optim.Optimizer | None = None
        if case.train:
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, fused=True)
        self.run: Callable[..., Any] = self.model
        if case.way == "compiled":
            self.run = torch.compile(self.model)
        elif isinstance(made, MViT) and case.way == "packed":
            self.run = made.optimize_for_inference()
        elif isinstance(made, MViT) and case.way == "elementwise":
            made.checkpoint(elementwise=True)
        elif isinstance(made, MViT) and case.way == "checkpointed":
            made.checkpoint([i for i, block in enumerate(made.blocks) if not isinstance(block, ReversibleBlock)])

    @property
    def weight_bytes(self) -> int:
        """Of the parameters."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.model.parameters())

    def step(self, *, eager: bool = False, keep_gradients: bool = False) -> None:
        """One step, in the way of the case unless ``eager``; gradients that are kept are set to zero."""
        run = self.model if eager else self.run
        autocast = torch.autocast(self.case.device, torch.bfloat16, enabled=self.case.dtype == "autocast")
        if self.optimizer is None:
            with torch.inference_mode(), autocast:
                run(self.clips)
            return
        with autocast:
            logits = run(self.clips)
        F.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not keep_gradients)


@contextmanager
def loaded(chosen: Sequence[Case]) -> Iterator[list[Subject]]:
    """All of these in memory at once, and out of it afterwards; raises ``ValueError`` where memory does not suffice."""
    subjects: list[Subject] = []
    try:
        subjects += [Subject(case) for case in chosen]
        yield subjects
    except RuntimeError as why:
        if not is_lack_of_memory(why):
            raise
        raise ValueError("the memory of this machine does not suffice: name fewer models or a smaller --batch") from why
    finally:
        subjects.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
