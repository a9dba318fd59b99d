"""torch.compile sees a whole model as one graph, once for a size, and its gradients are those of the eager one."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alive import MERGED as MERGED_FIELDS
from alive import V2 as V2_FIELDS
from alive import two_stages
from mvit.model.attention import places_on
from mvit.model.config import PoolConfig
from mvit.model.mvit import MViT

V1 = two_stages(clip=(4, 24, 24), depths=(1, 1), widths=(4, 8))
V2 = replace(V1, kernel_q=((3, 3, 3),) * 2, **V2_FIELDS)
MERGED = replace(V1, **MERGED_FIELDS)
REVERSIBLE = replace(V1, widen_in="attention", class_token=False, reversible="average")


@pytest.mark.parametrize("config", [V1, V2, MERGED, REVERSIBLE], ids=["v1", "v2", "merged", "reversible"])
@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float64", "autocast"])
def test_training_and_evaluation_are_one_graph(config, autocast):
    torch._dynamo.reset()
    model = MViT(config).to(torch.float32 if autocast else torch.float64)
    clips = torch.randn(2, 3, 4, 24, 24, dtype=next(model.parameters()).dtype)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    tolerance = {"rtol": 0.05, "atol": 0.05} if autocast else {"rtol": 1e-9, "atol": 1e-12}

    def logits_of(step):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return step(clips)

    def gradients(logits):
        return torch.autograd.grad(logits.square().sum(), list(model.parameters()))

    expected = logits_of(model)
    wanted = gradients(expected)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(2):
            logits = logits_of(compiled)
            torch.testing.assert_close(logits, expected, **tolerance)
            torch.testing.assert_close(gradients(logits), wanted, **tolerance)
    torch._dynamo.reset()
    model.eval()
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(2):
            torch.testing.assert_close(logits_of(compiled), expected.detach(), **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("config", [V1, REVERSIBLE], ids=["v1", "reversible"])
def test_dropped_paths_compile(config):
    torch._dynamo.reset()
    model = MViT(replace(config, drop_path=0.5, head_dropout=0.5))
    torch.compile(model, fullgraph=True, backend="aot_eager")(torch.randn(2, 3, 4, 24, 24)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


class NothingOnTheHost(TorchDispatchMode):
    """Fails for a tensor that is made on the host while the others are elsewhere."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [leaf.device.type for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        assert set(made) <= {"meta"}, f"{function} makes a tensor on the host"
        return result


@pytest.mark.parametrize("config", [V1, V2, MERGED, REVERSIBLE], ids=["v1", "v2", "merged", "reversible"])
def test_a_step_makes_no_tensor_on_the_host(config):
    """Its copy would wait for the GPU, and keep a CUDA graph from being captured."""
    model = MViT(config).to("meta")
    clips = torch.empty(1, 3, 4, 24, 24, device="meta")
    with torch.no_grad(), NothingOnTheHost():
        model(clips)


def test_places_made_on_a_device_are_those_that_windows_read():
    for kernel, stride, size in product(range(1, 5), range(1, 6), range(1, 14)):
        for padding in range(min(kernel, kernel // 2 + 1)):
            pool = PoolConfig(kernel=(kernel,) * 3, stride=(stride,) * 3, padding=(padding,) * 3)
            places = places_on(pool, 1, size, torch.device("cpu"))
            assert places.tolist() == pool.places_read((size,) * 3)[1]
