"""Answers to many videos: batches change nothing, and clips are taken until the first class is settled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mvit.data import video
from mvit.data.samples import Sample
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.deploy.answers import SPREAD, answers, protocol, settled, settled_answers
from mvit.deploy.described import Described
from mvit.evaluation.evaluate import score_video
from mvit.evaluation.scoring import SINGLE, Scoring

SMALL = Preprocessing(sampling=ClipSampling(frames=2, spacing=1), short_side=16, crop=16)


@dataclass
class Brightness:
    """Says of a clip how bright its frames are; counts clips and remembers how many came together."""

    scoring: Scoring = SINGLE
    scale: float = 1.0
    classes: tuple[str, ...] = ("bright", "dark", "grey")
    preprocessing: Preprocessing = SMALL
    views: tuple[int, int] = (3, 1)

    def __post_init__(self):
        self.calls: list[int] = []

    def logits(self, clips: np.ndarray) -> np.ndarray:
        self.calls.append(len(clips))
        light = clips.mean(axis=(1, 2, 3, 4))
        return self.scale * np.stack([light, -light, np.zeros_like(light)], axis=1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Sample]:
    """Flashing videos, one that is dark throughout, and among them two that cannot be read."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for n in range(6):
        video.write(
            folder / f"{n}.mp4", np.repeat(rng.integers(0, 256, 20), 1024 * 3).reshape(20, 32, 32, 3).astype(np.uint8)
        )
    video.write(folder / "dark.mp4", np.zeros((20, 32, 32, 3), dtype=np.uint8))
    (folder / "bad.mp4").write_text("not a video")
    names = ["0", "1", "bad", "2", "dark", "gone", "3", "4", "5"]
    return [Sample(folder / f"{name}.mp4", ()) for name in names]


@dataclass(frozen=True, kw_only=True)
class OfThree(Described):
    """Three logits, whatever its classes are."""

    def logits(self, clips: np.ndarray) -> np.ndarray:
        return np.zeros((len(clips), 3), np.float32)


@pytest.mark.parametrize("classes", [("bright", "dark"), ("bright", "dark", "grey", "red")])
def test_scores_of_other_classes_than_a_model_names_are_refused(classes, samples):
    model, said = OfThree(classes=classes, preprocessing=SMALL, views=(1, 1)), f"3 scores, but there are {len(classes)}"
    with pytest.raises(ValueError, match=said):
        list(answers(model, samples))
    with pytest.raises(ValueError, match=said):
        model.predict(samples[0].path)


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_batches_change_nothing(samples, batch):
    model = Brightness()
    found = list(answers(model, samples, batch=batch))
    assert [answer.video for answer in found] == [sample.path for sample in samples]
    assert [answer.video.stem for answer in found if answer.error] == ["bad", "gone"]
    assert max(model.calls) <= batch
    for answer in found:
        if answer.scores is not None:
            wanted = score_video(Brightness().logits, answer.video, SMALL, 3, 1)
            assert [answer.scores[name] for name in model.classes] == pytest.approx(wanted, abs=1e-6)
            assert list(answer.scores.values()) == sorted(answer.scores.values(), reverse=True)
            assert answer.views == 3


def test_clips_of_several_videos_are_computed_together(samples):
    model = Brightness(views=(1, 1))
    list(answers(model, [sample for sample in samples if sample.path.stem in "012345"], batch=3))
    assert model.calls == [3, 3]


def test_a_clear_video_takes_two_clips_and_one_that_flashes_takes_more(samples):
    found = {answer.video.stem: answer for answer in settled_answers(Brightness(scale=3.0), samples)}
    assert (found["dark"].views, next(iter(found["dark"].scores))) == (2, "dark")
    assert max(answer.views for answer in found.values()) > 2
    assert {name for name, answer in found.items() if answer.error} == {"bad", "gone"}
    assert protocol(Brightness(), None).startswith("2 to 10x1 views, 2x1")


def test_all_ten_clips_are_those_of_evaluation(samples):
    """A model that says the same of all classes is never sure."""
    model = Brightness(scale=0.0)
    (answer,) = settled_answers(model, samples[:1])
    assert answer.views == len(SPREAD) == sum(model.calls)
    assert sorted(SPREAD) == list(range(10))
    unsure = Brightness(scale=1e-9)
    (answer,) = settled_answers(unsure, samples[:1])
    if answer.views == 10:
        wanted = score_video(unsure.logits, samples[0].path, SMALL, 10, 1)
        assert [answer.scores[name] for name in unsure.classes] == pytest.approx(wanted, abs=1e-6)


def test_scores_that_are_no_means_are_refused(samples):
    for scoring, said in ((Scoring(multi_label=True), "several classes"), (Scoring(aggregate="max"), "highest score")):
        with pytest.raises(ValueError, match=said):
            settled_answers(Brightness(scoring=scoring), samples)


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_settled_is_students_t_over_clips(clips, classes, seed):
    scores = np.random.default_rng(seed).dirichlet(np.ones(classes), clips)
    first = scores.mean(axis=0).argmax()
    others = [other for other in range(classes) if other != first]
    low = [stats.ttest_rel(scores[:, first], scores[:, other]).confidence_interval(0.95).low for other in others]
    assert settled(scores) == (min(low) > 0)


def test_one_class_is_settled():
    assert settled(np.ones((2, 1)))


def test_a_video_that_is_gone_meanwhile_is_named(samples, tmp_path, monkeypatch):
    path = tmp_path / "here.mp4"
    path.write_bytes(samples[0].path.read_bytes())

    class Deletes(Brightness):
        def logits(self, clips: np.ndarray) -> np.ndarray:
            Path(path).unlink(missing_ok=True)
            return 0 * super().logits(clips)

    (answer,) = settled_answers(Deletes(), [Sample(path, ())])
    assert answer.scores is None
    assert answer.error == "there is no such file"
