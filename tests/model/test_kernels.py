"""The fused pool against the plain path: on a GPU where there is one, and under Triton's interpreter everywhere."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from alive import two_stages
from interpreted import DEVICE, INTERPRETED, TOLERANCES, assert_near, compile_only, on_device, run_interpreted
from mvit.model import attention, kernels
from mvit.model.attention import TokenPool
from mvit.model.config import PoolConfig
from mvit.model.kernels.pooling import pool_and_norm
from mvit.model.mvit import MViT
from strategies import triples

pytestmark = pytest.mark.skipif(
    not kernels.installed, reason="Triton is not installed: there is no wheel for this system"
)
SMALL = two_stages(clip=(2, 16, 16), depths=(1, 2), widths=(6, 12))


@pytest.mark.timeout(300)
@pytest.mark.skipif(INTERPRETED, reason="this is the process that interprets")
def test_under_the_interpreter():
    run_interpreted(__file__)


def random_pool(pool: PoolConfig, heads: int, width: int, *, class_token: bool, dtype=torch.float64) -> TokenPool:
    module = TokenPool(pool, heads, width, "conv", class_token=class_token).to(DEVICE, dtype)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def gradients(y, tensors, grad):
    return torch.autograd.grad(y, tensors, grad.to(y.dtype))


@st.composite
def pools(draw):
    """A pool and a grid that leaves it a window: strides beyond the kernel and grids below it among them."""
    kernel = draw(triples((1, 1, 1), (3, 3, 3)))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    grid = tuple(draw(st.integers(max(1, size - 2 * pad), 4)) for size, pad in zip(kernel, padding, strict=True))
    return PoolConfig(kernel=kernel, stride=draw(triples((1, 1, 1), (3, 4, 4))), padding=padding), grid


@on_device
@pytest.mark.timeout(900)  # a GPU compiles four kernels for each example
@settings(max_examples=8 if INTERPRETED else 25)
@given(
    pool=pools(),
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    width=st.sampled_from([1, 2, 3, 5, 8, 12, 96]),
    class_token=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCES)),
    weights_in_float32=st.booleans(),
    layout=st.sampled_from(["contiguous", "slice", "transposed"]),
    seed=st.integers(0, 999),
)
def test_output_and_gradients_are_the_plain_path_s(
    pool, batch, heads, width, class_token, dtype, weights_in_float32, layout, seed
):
    torch.manual_seed(seed)
    pool, grid = pool
    tokens = int(class_token) + grid[0] * grid[1] * grid[2]
    x = torch.randn(batch, tokens, 3 * heads * width, dtype=torch.float64, device=DEVICE)[..., : heads * width]
    if layout == "contiguous":
        x = x.contiguous()
    elif layout == "transposed":
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    x = x.to(dtype)  # keeps strides
    of_weights = torch.float32 if weights_in_float32 and dtype != torch.float64 else dtype
    module = random_pool(pool, heads, width, class_token=class_token, dtype=of_weights)
    inputs = [t.detach().requires_grad_() for t in (x, module.weight, module.norm.weight, module.norm.bias)]
    y, new_grid = pool_and_norm(*inputs, grid, pool, class_token=class_token, eps=attention.NORM_EPS)
    assert (y.dtype, new_grid) == (dtype, pool.grid_of(grid))

    plain, x = module.double(), x.double().requires_grad_()
    expected, _ = plain_path(plain, x, grid)
    grad = torch.randn_like(expected).to(dtype).double()
    assert_near(y, expected, TOLERANCES[dtype])
    if width <= 2 and dtype != torch.float64:
        return  # the norm of one or two channels hardly depends on them: its gradients are differences of equals
    of_plain = gradients(expected, [x, plain.weight, plain.norm.weight, plain.norm.bias], grad)
    for actual, wanted, tensor in zip(gradients(y, inputs, grad), of_plain, inputs, strict=True):
        assert actual.dtype == tensor.dtype
        assert_near(actual, wanted, 5 * TOLERANCES[dtype])


def plain_path(module: TokenPool, x, grid):
    enabled, kernels.enabled = kernels.enabled, set()
    try:
        return module(x, grid)
    finally:
        kernels.enabled = enabled


@on_device
def test_many_programs_share_a_sum_and_agree_to_the_bit(monkeypatch):
    monkeypatch.setattr("mvit.model.kernels.pooling.PROGRAMS", 2)
    monkeypatch.setattr("mvit.model.kernels.pooling.TILE", 64)
    pool = PoolConfig(kernel=(1, 2, 3), stride=(1, 1, 2), padding=(0, 1, 1))
    module = random_pool(pool, 2, 6, class_token=True)
    x = torch.randn(1, 21, 12, dtype=torch.float64, device=DEVICE, requires_grad=True)
    tensors = [x, module.weight, module.norm.weight, module.norm.bias]
    expected, _ = plain_path(module, x, (1, 4, 5))
    grad = torch.randn_like(expected)
    runs = []
    for _ in range(2):
        y, _ = pool_and_norm(*tensors, (1, 4, 5), pool, class_token=True, eps=attention.NORM_EPS)
        runs.append(gradients(y, tensors, grad))
    for first, second, wanted in zip(*runs, gradients(expected, tensors, grad), strict=True):
        assert torch.equal(first, second)
        assert_near(first, wanted, 1e-12)


@on_device
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own doing
def test_torch_s_own_checks_of_an_operator():
    module = random_pool(PoolConfig(kernel=(1, 2, 2), stride=(1, 2, 1), padding=(0, 1, 0)), 2, 3, class_token=True)
    x = torch.randn(1, 7, 6, dtype=torch.float64, device=DEVICE, requires_grad=True)
    arguments = (x, module.weight, module.norm.weight, module.norm.bias)
    settings = ([1, 2, 3], [1, 2, 1], [0, 1, 0], True, 1e-6)
    torch.library.opcheck(torch.ops.mvit.pool_and_norm.default, (*arguments, *settings))
    backward = (torch.randn(1, 5, 6, dtype=torch.float64, device=DEVICE), *arguments[:3], *settings)
    torch.library.opcheck(
        torch.ops.mvit.pool_and_norm_backward.default,
        [each.detach() if isinstance(each, torch.Tensor) else each for each in backward],
        test_utils=("test_schema", "test_faketensor"),
    )
    assert torch.autograd.gradcheck(lambda *t: torch.ops.mvit.pool_and_norm(*t, *settings), arguments, fast_mode=True)


@on_device
def test_a_model_takes_them_compiled_and_is_the_same(monkeypatch):
    torch.manual_seed(0)
    model = MViT(SMALL).to(DEVICE, torch.float64)
    clips = torch.randn(1, 3, 2, 16, 16, dtype=torch.float64, device=DEVICE)
    monkeypatch.setattr(kernels, "enabled", set())
    expected = model(clips)
    wanted = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    monkeypatch.setattr(kernels, "enabled", {"pooling"})
    monkeypatch.setattr(attention, "serve", lambda x, kernel: kernel in kernels.enabled)  # the interpreter has no GPU
    calls = []
    pool = attention.pool_and_norm
    monkeypatch.setattr(attention, "pool_and_norm", lambda *a, **k: calls.append(0) or pool(*a, **k))
    assert_near(model(clips), expected, 1e-12)
    assert len(calls) == 3 * 2 + 1  # keys and values in every block, queries where the second stage begins
    monkeypatch.setattr(attention, "pool_and_norm", pool)
    logits = torch.compile(model, fullgraph=True, backend="aot_eager")(clips)
    assert_near(logits, expected, 1e-12)
    gradients = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
    for ours, oracle in zip(gradients, wanted, strict=True):
        assert_near(ours, oracle, 1e-10)


@on_device
def test_a_wrong_grid_is_refused():
    module = random_pool(PoolConfig(kernel=(3, 3, 3), stride=(1, 1, 1), padding=(0, 0, 0)), 1, 4, class_token=False)
    tensors = [torch.zeros(1, 27, 4, device=DEVICE).double(), module.weight, module.norm.weight, module.norm.bias]
    for grid, reason in (((1, 1, 27), "too small"), ((3, 3, 4), "27 tokens for a grid")):
        with pytest.raises(ValueError, match=reason):
            pool_and_norm(*tensors, grid, module.config, class_token=False, eps=1e-6)


@pytest.mark.skipif(INTERPRETED, reason="has nothing to interpret")
def test_they_serve_gpus_alone_and_a_switch_turns_each_off(monkeypatch):
    with FakeTensorMode():
        on_gpu, without_kernel = (
            torch.empty(1, dtype=kind, device="cuda") for kind in (torch.float32, torch.complex64)
        )
    assert not kernels.serve(without_kernel, "norm")
    for kernel in kernels.KERNELS:
        assert not kernels.serve(torch.zeros(1), kernel)
        assert kernels.serve(on_gpu, kernel)
        monkeypatch.setattr(kernels, "enabled", set(kernels.KERNELS) - {kernel})
        assert not kernels.serve(on_gpu, kernel)
        monkeypatch.undo()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert [kernels.serve(on_gpu, kernel) for kernel in ("pooling", "norm")] == [True, False]
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert not any(kernels.serve(on_gpu, kernel) for kernel in kernels.KERNELS)


@pytest.mark.skipif(INTERPRETED, reason="has nothing to interpret")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("1", {"pooling", "norm"}),
        ("", {"pooling", "norm"}),
        ("0", set()),
        ("norm", {"norm"}),
        ("norm,pooling", {"norm", "pooling"}),
    ],
)
def test_what_the_switch_says(words, names):
    assert kernels.chosen(words) == names


@pytest.mark.skipif(INTERPRETED, reason="has nothing to interpret")
@pytest.mark.parametrize("words", ["true", "norms", "norm, pooling", "0,norm"])
def test_what_the_switch_does_not_know(words):
    with pytest.raises(
        ValueError, match=r"MVIT_KERNELS names '.*': expected 1 .all., 0 .none., or some of pooling and norm"
    ):
        kernels.chosen(words)


@pytest.mark.skipif(INTERPRETED, reason="has nothing to interpret")
def test_the_model_needs_no_triton_and_does_not_import_it():
    program = """
import sys
if "hidden" in sys.argv:
    sys.modules["triton"] = None  # from now on, importing it fails
import torch
from mvit.model import kernels
from mvit.model.mvit import MViT
import mvit
MViT(mvit.create_model("mvit_test_4x32").config)(torch.zeros(1, 3, 4, 32, 32))
assert kernels.enabled == set()
print(kernels.installed, any(name.endswith("_triton") for name in sys.modules))
"""
    for hidden, installed in (((), kernels.installed), (("hidden",), False)):
        run = subprocess.run(
            [sys.executable, "-c", program, *hidden],
            env=os.environ | {"MVIT_KERNELS": "0"},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.split() == [str(installed), "False"]


@pytest.mark.skipif(INTERPRETED, reason="what is interpreted is not compiled")
def test_they_compile_for_a_gpu_that_is_not_there(monkeypatch, tmp_path):
    compiled = compile_only(monkeypatch, tmp_path)
    pool = PoolConfig(kernel=(1, 1, 3), stride=(1, 1, 2), padding=(0, 0, 1))
    x = torch.zeros(1, 9, 192, dtype=torch.bfloat16, requires_grad=True)
    weights = [torch.zeros(96, 1, 1, 1, 3, requires_grad=True), *torch.zeros(2, 96).requires_grad_().unbind()]
    y, _ = pool_and_norm(x, *weights, (1, 1, 8), pool, class_token=True, eps=1e-6)
    y.sum().backward()
    assert set(compiled) == {"pool_forward", "norm_backward", "input_backward", "weight_backward"}
    assert all(".target sm_90" in kernel.asm["ptx"] for kernel in compiled.values())
