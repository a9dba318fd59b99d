"""A sum and its norm in one kernel against the plain path: on a GPU, and under Triton's interpreter everywhere."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alive import REVERSIBLE, V2, two_stages
from interpreted import DEVICE, INTERPRETED, TOLERANCES, assert_near, compile_only, on_device, run_interpreted
from mvit.model import block, kernels
from mvit.model.kernels.norm import add_and_norm, norm
from mvit.model.mvit import MViT
from mvit.model.presets import get_config

EPS = 1e-6
SMALL = two_stages(clip=(2, 16, 16), depths=(1, 2), widths=(6, 12))
SPEED = Path(__file__).parents[2] / "docs" / "speed.md"
F64, F32, F16, BF16 = torch.float64, torch.float32, torch.float16, torch.bfloat16
TYPES = {  # skip, branch, scale and shift, norm: a model in one type, or weights in float32 under autocast
    "float64": (F64, F64, F64, F64),
    "float32": (F32, F32, F32, F32),
    "bf16": (BF16, BF16, BF16, BF16),
    "autocast, narrow skip": (BF16, BF16, F32, BF16),
    "autocast, wide skip": (F32, BF16, F32, BF16),
    "autocast in float16": (F32, F16, F32, F16),
}

pytestmark = pytest.mark.skipif(
    not kernels.installed, reason="Triton is not installed: there is no wheel for this system"
)


@pytest.mark.timeout(600)
@pytest.mark.skipif(INTERPRETED, reason="this is the process that interprets")
def test_under_the_interpreter():
    run_interpreted(__file__)


def random_inputs(shape, types, *, dropped):
    """Skip, branch, scale and shift, which want gradients, and what stochastic depth multiplies a branch by."""
    skip, branch, weights, _ = types
    shapes = (shape, shape, shape[-1:], shape[-1:])
    kinds = (skip, branch, weights, weights)
    tensors = [torch.randn(s, device=DEVICE).to(k).requires_grad_() for s, k in zip(shapes, kinds, strict=True)]
    factor = (torch.randint(2, (shape[0], 1, 1), device=DEVICE) / 0.9).to(branch) if dropped else None
    return tensors, factor


def plain_path(tensors, factor, kept):
    """In float64, but for the norm of the sum as it was kept; and tensors to take gradients of."""
    skip, branch, scale, shift = wide = [tensor.detach().double().requires_grad_() for tensor in tensors]
    x = skip + (branch if factor is None else branch * factor.double())
    rounded = x + (kept.double() - x).detach()
    return x, F.layer_norm(rounded, x.shape[-1:], scale, shift, EPS), wide


@on_device
@pytest.mark.timeout(900)  # a GPU compiles two kernels for each example
@settings(max_examples=12 if INTERPRETED else 40)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 11),
    width=st.sampled_from([1, 2, 3, 7, 16, 96, 112, 144, 192, 768]),
    types=st.sampled_from(list(TYPES.values())),
    dropped=st.booleans(),
    layout=st.sampled_from(["contiguous", "slice", "transposed"]),
    used=st.sampled_from(["both", "sum", "norm"]),
    seed=st.integers(0, 999),
)
def test_output_and_gradients_are_the_plain_path_s(batch, tokens, width, types, dropped, layout, used, seed):
    torch.manual_seed(seed)
    tensors, factor = random_inputs((batch, tokens, width), types, dropped=dropped)
    skip, branch, scale, shift = tensors
    if layout == "slice":
        skip = torch.cat([skip, skip], dim=-1)[..., :width]
    elif layout == "transposed":
        branch = branch.transpose(1, 2).contiguous().transpose(1, 2)
    x, y = add_and_norm(skip, branch, factor, scale, shift, eps=EPS, dtype=types[-1])
    assert (x.dtype, y.dtype) == (torch.promote_types(*types[:2]), types[-1])
    expected_x, expected_y, wide = plain_path(tensors, factor, x)
    assert_near(x, expected_x, TOLERANCES[x.dtype])
    assert_near(y, expected_y, TOLERANCES[y.dtype])
    if width <= 2 and types[0] != F64:
        return  # the norm of one or two channels hardly depends on them: its gradients are differences of equals
    grad_x, grad_y = torch.randn(2, batch, tokens, width, device=DEVICE)
    grad_x, grad_y = grad_x.to(x.dtype) * (used != "norm"), grad_y.to(y.dtype) * (used != "sum")
    outputs, grads = {"both": ([x, y], [grad_x, grad_y]), "sum": ([x], [grad_x]), "norm": ([y], [grad_y])}[used]
    actual = torch.autograd.grad(outputs, tensors, grads)
    wanted = torch.autograd.grad([expected_x, expected_y], wide, [grad_x.double(), grad_y.double()])
    for ours, oracle, tensor in zip(actual, wanted, tensors, strict=True):
        assert ours.dtype == tensor.dtype
        assert_near(ours, oracle, 5 * TOLERANCES[types[1]])


@on_device
@pytest.mark.parametrize("types", TYPES.values(), ids=TYPES)
def test_the_norm_alone_is_that_of_the_sum_to_the_bit(types):
    """Else gradients would differ where a norm is computed again from the sum that was kept."""
    torch.manual_seed(0)
    (skip, branch, scale, shift), factor = random_inputs((2, 5, 96), types, dropped=True)
    x, y = add_and_norm(skip, branch, factor, scale, shift, eps=EPS, dtype=types[-1])
    x = x.detach().requires_grad_()
    alone = norm(x, scale, shift, eps=EPS, dtype=types[-1])
    assert torch.equal(alone, y)
    grad = torch.randn_like(y)
    wide = [tensor.detach().double().requires_grad_() for tensor in (x, scale, shift)]
    expected = F.layer_norm(wide[0], (96,), *wide[1:], EPS)
    wanted = torch.autograd.grad(expected, wide, grad.double())
    for ours, oracle in zip(torch.autograd.grad(alone, [x, scale, shift], grad), wanted, strict=True):
        assert_near(ours, oracle, 5 * TOLERANCES[types[1]])


@on_device
def test_many_programs_share_a_sum_and_agree_to_the_bit(monkeypatch):
    monkeypatch.setattr("mvit.model.kernels.norm.PROGRAMS", 2)
    monkeypatch.setattr("mvit.model.kernels.norm.TILE", 32)
    tensors, factor = random_inputs((3, 7, 12), TYPES["float64"], dropped=True)
    runs = []
    for _ in range(2):
        x, y = add_and_norm(*tensors[:2], factor, *tensors[2:], eps=EPS)
        runs.append(torch.autograd.grad(x.square().sum() + y.cos().sum(), tensors))
    expected_x, expected_y, wide = plain_path(tensors, factor, x)
    wanted = torch.autograd.grad(expected_x.square().sum() + expected_y.cos().sum(), wide)
    for first, second, oracle in zip(*runs, wanted, strict=True):
        assert torch.equal(first, second)
        assert_near(first, oracle, 1e-12)


@on_device
def test_a_batch_of_none():
    tensors, _ = random_inputs((0, 7, 12), TYPES["float32"], dropped=False)
    x, y = add_and_norm(*tensors[:2], None, *tensors[2:], eps=EPS)
    assert x.shape == y.shape == (0, 7, 12)
    assert not torch.autograd.grad(x.sum() + y.sum(), tensors)[2].any()


@on_device
@pytest.mark.parametrize("dropped", [False, True])
def test_the_sum_alone_is_kept(dropped):
    (skip, branch, scale, shift), factor = random_inputs((2, 5, 96), TYPES["autocast, wide skip"], dropped=dropped)
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor):
        x, _ = add_and_norm(skip, branch, factor, scale, shift, eps=EPS, dtype=BF16)
    assert set(kept) == {x.data_ptr(), scale.data_ptr(), *([factor.data_ptr()] if dropped else [])}


@on_device
def test_the_gradient_of_a_gradient_is_refused():
    tensors, _ = random_inputs((2, 5, 8), TYPES["float32"], dropped=False)
    _, y = add_and_norm(*tensors[:2], None, *tensors[2:], eps=EPS)
    (gradient,) = torch.autograd.grad(y.square().sum(), tensors[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        torch.autograd.grad(gradient.square().sum(), tensors[0])


@on_device
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own doing
@pytest.mark.parametrize("dropped", [False, True])
def test_torch_s_own_checks_of_an_operator(dropped):
    (skip, branch, scale, shift), factor = random_inputs((2, 3, 6), TYPES["float64"], dropped=dropped)
    operator, backward = torch.ops.mvit.add_and_norm.default, torch.ops.mvit.add_and_norm_backward.default
    arguments = (skip, branch, factor, scale, shift, EPS, F64)
    torch.library.opcheck(operator, arguments)
    torch.library.opcheck(operator, (skip, None, None, scale, shift, EPS, F64))
    grad_x, grad_y = torch.randn(2, 2, 3, 6, dtype=F64, device=DEVICE)
    for grad, of_branch in ((grad_x, F64), (None, None)):
        given = (grad, grad_y, skip.detach(), factor, scale.detach(), EPS, of_branch)
        torch.library.opcheck(backward, given, test_utils=("test_schema", "test_faketensor"))
    assert torch.autograd.gradcheck(operator, arguments, fast_mode=True)


MODELS = {
    "v1": {"drop_path": 0.5},
    "v1 without class token": {"class_token": False},
    "v2": {"kernel_q": ((3, 3, 3),) * 2, "drop_path": 0.5, **V2},
    "reversible": {"reversible": "average", **REVERSIBLE},
}


def step(model, clips):
    """Logits and the gradients of every parameter, all in one row, from a fixed seed."""
    torch.manual_seed(1)
    logits = model(clips)
    gradients = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
    return torch.cat([tensor.flatten().double() for tensor in (logits.detach(), *gradients)])


@on_device
@pytest.mark.parametrize("autocast", [False, True], ids=["float64", "autocast"])
@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_a_model_takes_it_and_is_the_same(fields, autocast, monkeypatch):
    torch.manual_seed(0)
    model = MViT(replace(SMALL, **fields)).to(DEVICE, F32 if autocast else F64).train()
    clips = torch.randn(2, 3, 2, 16, 16, device=DEVICE).to(next(model.parameters()).dtype)
    calls = []
    for name in ("add_and_norm", "norm"):
        kernel = getattr(block, name)
        monkeypatch.setattr(block, name, lambda *a, kernel=kernel, **k: calls.append(kernel) or kernel(*a, **k))
    monkeypatch.setattr(block, "serve", lambda x, kernel: False)
    plain = step(model, clips)
    assert not calls
    monkeypatch.setattr(block, "serve", lambda x, kernel: kernel == "norm")  # the interpreter has no GPU
    with torch.autocast(DEVICE, BF16, enabled=autocast):
        fused = step(model, clips)
        assert set(calls) == ({norm} if "reversible" in fields else {add_and_norm, norm})
        model.checkpoint(elementwise=True)
        again = step(model, clips)
    # bf16 is as far from float32 on the plain path: a few percent, twice that where gradients cancel out.
    assert (fused - plain).norm() <= (0.1 if autocast else 1e-10) * plain.norm()
    if INTERPRETED:  # on a GPU other operators add in any order
        assert torch.equal(fused, again)


class Moved(TorchDispatchMode):
    """Bytes of the tensors that operators read and write, by operator."""

    def __init__(self):
        super().__init__()
        self.bytes = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.namespace in ("aten", "mvit") and not function.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            self.bytes[function.overloadpacket] += sum(tensor.nbytes for tensor in tensors)
        return result


@pytest.mark.skipif(INTERPRETED, reason="has nothing to interpret")
def test_a_model_on_a_gpu_takes_it(monkeypatch):
    operators = {torch.ops.mvit.add_and_norm, torch.ops.mvit.pool_and_norm}
    monkeypatch.setattr("mvit.model.mvit.initialise", lambda model: None)  # it looks at what it draws
    with FakeTensorMode(), torch.device("cuda"):
        model, clips = MViT(SMALL), torch.empty(1, 3, 2, 16, 16)
        with Moved() as moved:
            model(clips)
        assert operators <= set(moved.bytes)
        monkeypatch.setattr(kernels, "enabled", {"pooling"})
        with Moved() as moved:
            model(clips)
        assert operators & set(moved.bytes) == {torch.ops.mvit.pool_and_norm}


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="has nothing to interpret")
def test_what_a_clip_moves(monkeypatch):
    """The figures of docs/speed.md, counted on tensors that hold nothing, with the casts of CUDA's autocast."""
    monkeypatch.setattr(nn.LayerNorm, "forward", in_float32)
    model = MViT(get_config("mvit_b_16x4"))
    counts = []
    for served in (False, True):
        monkeypatch.setattr(block, "serve", lambda x, kernel, served=served: served)
        with FakeTensorMode(allow_non_fake_inputs=True), torch.autocast("cpu", BF16):
            with Moved() as forward:
                logits = model(torch.empty(1, 3, 16, 224, 224))
            with Moved() as backward:
                torch.autograd.grad(logits.sum(), list(model.parameters()))
        counts.append([forward.bytes, backward.bytes])
    said = re.search(
        r"(\d+) MB forward and (\d+) MB backward become (\d+) and (\d+)", " ".join(SPEED.read_text().split())
    )
    fused = [sum(n for operator, n in c.items() if "add_and_norm" in str(operator)) for c in counts[1]]
    plain = [own + without.total() - within.total() for own, without, within in zip(fused, *counts, strict=True)]
    assert [round(n / 1e6) for n in plain + fused] == [int(n) for n in said.groups()]


def in_float32(self, x):
    """A LayerNorm under CUDA's autocast."""
    return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)


@pytest.mark.skipif(INTERPRETED, reason="what is interpreted is not compiled")
@pytest.mark.parametrize("types", [TYPES["autocast, wide skip"], TYPES["float64"]], ids=["autocast", "float64"])
@pytest.mark.parametrize("dropped", [False, True])
def test_it_compiles_for_a_gpu_that_is_not_there(types, dropped, monkeypatch, tmp_path):
    compiled = compile_only(monkeypatch, tmp_path)
    skip, branch = (torch.zeros(2, 5, 96, dtype=kind, requires_grad=True) for kind in types[:2])
    scale, shift = torch.zeros(2, 96, dtype=types[2]).requires_grad_().unbind()
    factor = torch.zeros(2, 1, 1, dtype=types[1]) if dropped else None
    x, y = add_and_norm(skip, branch, factor, scale, shift, eps=EPS, dtype=types[3])
    (x.sum() + y.sum()).backward()
    norm(skip, scale, shift, eps=EPS, dtype=types[3]).sum().backward()
    assert set(compiled) == {"norm_forward", "norm_backward"}
    assert all(".target sm_90" in kernel.asm["ptx"] for kernel in compiled.values())
