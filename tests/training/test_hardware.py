import pytest
import torch

from mvit.data.resources import available_cores
from mvit.recipes.sections import TrainRecipe
from mvit.training.hardware import choose


def test_a_recipe_is_followed():
    chosen = choose(TrainRecipe(device="cpu", precision="bf16", workers=3))
    assert (chosen.device.type, chosen.precision, chosen.workers) == ("cpu", "bf16", 3)
    assert str(chosen).endswith("bf16 (as the recipe says), 3 decoding processes")
    with chosen.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with choose(TrainRecipe(device="cpu", precision="float32")).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("amx", "reason"), [(True, "has AMX"), (False, "bf16 is slower")])
def test_a_cpu_takes_bf16_where_it_pays(monkeypatch: pytest.MonkeyPatch, amx: bool, reason: str):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    chosen = choose(TrainRecipe(device="cpu"))
    assert chosen.precision == ("bf16" if amx else "float32")
    assert reason in chosen.reason
    assert 1 <= chosen.workers <= max(1, available_cores() // 4)


def test_auto_takes_the_accelerator_that_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose(TrainRecipe()).device.type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose(TrainRecipe()).device.type == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=r'train.device is "cuda", which this machine and torch build lack: there is cpu'
    ):
        choose(TrainRecipe(device="cuda"))


def test_fp16_has_its_loss_scaled_where_torch_does_that(monkeypatch: pytest.MonkeyPatch):
    chosen = choose(TrainRecipe(device="cpu", precision="fp16"))
    assert chosen.scaler().is_enabled()
    assert not choose(TrainRecipe(device="cpu", precision="bf16")).scaler().is_enabled()
    with chosen.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
    with chosen.autocast(enabled=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ValueError, match=r'train.precision is "fp16", .* cuda and cpu and not on mps: set it to bf16'):
        choose(TrainRecipe(device="mps", precision="fp16"))
