"""What a GPU alone can show: no step waits for it, attention is flash attention, and CUDA graphs replay a model."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from alive import V2 as V2_FIELDS
from alive import two_stages
from mvit.model.mvit import MViT

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: benchmarks/gpu.sh runs it there"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # torch.compile's advice on matrix products
    pytest.mark.timeout(600),
]

V1 = two_stages(clip=(4, 32, 32), depths=(1, 2), widths=(32, 64))
V2 = replace(V1, kernel_q=((3, 3, 3),) * 2, **V2_FIELDS)

both = pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])


def model_and_clips(config):
    return MViT(config).cuda(), torch.randn(2, 3, *config.clip, device="cuda")


@both
def test_a_step_never_waits_for_the_gpu(config):
    model, clips = model_and_clips(config)
    model(clips).sum().backward()  # what is compiled and planned once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        model(clips).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@both
def test_attention_is_flash_attention(config):
    model, clips = model_and_clips(config)
    with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        logits = model(clips)
    logits.sum().backward()
    assert logits.isfinite().all()


@both
def test_cuda_graphs_replay_a_model(config):
    torch._dynamo.reset()
    model, clips = model_and_clips(config)
    model.eval()
    compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
    with torch.no_grad():
        expected = model(clips)
        for _ in range(3):  # the first ones warm up and capture
            torch.testing.assert_close(compiled(clips), expected, rtol=1e-3, atol=1e-3)
