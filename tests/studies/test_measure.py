"""What a measurement leaves, on models that run in milliseconds; no time is judged."""

import pytest

from mvit.studies import measure as measuring
from mvit.studies.cases import cases, loaded, macs
from mvit.studies.measure import in_rounds, measure
from mvit.studies.spread import ratios, spread
from mvit.studies.table import describe

NAME = "mvit_test_4x32"


@pytest.fixture(autouse=True)
def _small_square(monkeypatch):
    monkeypatch.setattr("mvit.studies.products.SQUARE", {"cpu": 64})


def test_every_model_in_every_setting_models_next_to_each_other():
    made = cases([NAME, "swin_t"], batches=[1, 2], dtypes=["float32", "autocast"], device="cpu", compiled=True)
    assert len(made) == len(set(made)) == 16
    assert [case.name for case in made[:2]] == [NAME, "swin_t"]
    assert [case.clip for case in made[:2]] == [(4, 32, 32), (1, 224, 224)]


def test_each_round_runs_every_task_in_an_order_of_its_own():
    ran, times = [], {}
    in_rounds({name: lambda name=name: ran.append(name) for name in "abcd"}, times, 3, "cpu")
    rounds = [tuple(ran[place : place + 4]) for place in range(0, len(ran), 4)]
    assert all(sorted(each) == ["a", "b", "c", "d"] for each in rounds)
    assert len(set(rounds)) > 1
    assert {name: len(found) for name, found in times.items()} == dict.fromkeys("abcd", 3)


def test_the_record_follows_from_its_times():
    record = measure(cases([NAME], [(4, 32, 32), (8, 48, 48)], dtypes=["float32", "autocast"], device="cpu"), runs=3)
    assert record["complete"]
    times = record["milliseconds"]
    assert all(len(each) == record["rounds"] == 3 for each in times.values())
    for index, case in enumerate(record["cases"]):
        own = times[f"case {index}"]
        assert case["milliseconds"] == spread(own).to_dict()
        assert case["of_first"] == ratios(own, times["case 0"]).to_dict()
        assert case["clips_per_second"] == pytest.approx(1e3 / spread(own).median)
    growth = record["cases"][2]["growth"]
    assert growth["of_case"] == 0
    assert growth["gmac_ratio"] == macs(NAME, (8, 48, 48)) / macs(NAME, (4, 32, 32))
    assert "growth" not in record["cases"][1]
    page = describe(record)
    assert "8x48x48" in page
    assert "time/GMAC" in page


def test_a_step_of_training_counts_three_forward_passes():
    (case,) = cases([NAME], device="cpu", train=True)
    record = measure([case], runs=1)
    (found,) = record["cases"]
    assert found["gmac_per_second"] == pytest.approx(3 * found["gmac"] / (found["milliseconds"]["median"] / 1e3))


def test_an_interruption_keeps_the_rounds_that_were_whole(monkeypatch):
    def stop_in_the_second_round(done):
        if done == measuring.WARM_UP_ROUNDS + 1:
            raise KeyboardInterrupt

    chosen = cases([NAME], device="cpu")
    record = measure(chosen, runs=3, progress=lambda done, of: stop_in_the_second_round(done))
    assert (record["complete"], record["rounds"]) == (False, 1)
    assert "INTERRUPTED" in describe(record)

    def stop_at_once(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(chosen, runs=3, progress=stop_at_once)


def test_a_clip_that_a_baseline_does_not_take():
    with pytest.raises(ValueError, match="torchvision_mvit_b_16x4 does not take clips of 4x32x32: it is made for 16x"):
        macs("torchvision_mvit_b_16x4", (4, 32, 32))


def test_ours_packed_stand_beside_the_others():
    record = measure(cases([NAME, "swin_t"], device="cpu", packed=True), runs=1)
    assert [(case["name"], case["way"]) for case in record["cases"]] == [
        (NAME, "eager"),
        ("swin_t", "eager"),
        (NAME, "packed"),
    ]
    with pytest.raises(ValueError, match="--packed is for inference and --train measures training: leave one of them"):
        cases([NAME], device="cpu", packed=True, train=True)
    with pytest.raises(ValueError, match="--packed is for presets of ours, and swin_t has none"):
        cases(["swin_t"], device="cpu", packed=True)


def test_ours_stand_beside_the_others_with_parts_computed_again():
    chosen = cases([NAME, "swin_t"], device="cpu", train=True, recompute=True)
    assert [(case.name, case.way) for case in chosen] == [
        (NAME, "eager"),
        ("swin_t", "eager"),
        (NAME, "elementwise"),
        (NAME, "checkpointed"),
    ]
    with loaded([chosen[0], *chosen[2:]]) as subjects:
        for subject in subjects:
            subject.step(keep_gradients=True)
        plain, elementwise, checkpointed = (subject.model.blocks for subject in subjects)
        assert not any(block.recompute or block.checkpointed for block in plain)
        assert all(block.recompute for block in elementwise)
        assert all(block.checkpointed for block in checkpointed)
    with pytest.raises(ValueError, match="--recompute is for training: leave it out, or add --train"):
        cases([NAME], device="cpu", recompute=True)
    with pytest.raises(ValueError, match="--recompute is for presets of ours, and swin_t has none"):
        cases(["swin_t"], device="cpu", train=True, recompute=True)


def test_what_is_reversible_is_not_checkpointed():
    (case,) = (
        each for each in cases(["rev_mvit_b_16_image"], train=True, recompute=True) if each.way == "checkpointed"
    )
    with loaded([case]) as (subject,):
        assert any(getattr(block, "checkpointed", False) for block in subject.model.blocks)
