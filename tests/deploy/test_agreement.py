"""When a file says what the model says, and when it is refused."""

import numpy as np
import pytest

from mvit.deploy.agreement import compare, require

CLIPS = np.arange(1, 101, dtype=np.float32).reshape(100, 1, 1, 1, 1)


def model(clips: np.ndarray) -> np.ndarray:
    """Logits of which the largest is 100, and class 1 is ahead of class 0 but in the first clip."""
    size = clips.reshape(len(clips), 1)
    return np.hstack([np.full_like(size, 1.5), size])


@pytest.mark.parametrize(("off", "passes"), [(5e-5, True), (2e-4, False)])
def test_float32_is_refused_above_a_ten_thousandth_of_the_largest_logit(off, passes):
    found = compare(model, lambda clips: model(clips) + np.float32(100 * off), CLIPS)
    assert found.largest_difference == pytest.approx(off, rel=0.1)
    assert found.agreeing == 100
    if passes:
        require(found, int8=False)
    else:
        with pytest.raises(ValueError, match=r"nothing was written: the file is off by more than 0\.0001"):
            require(found, int8=False)
    require(found, int8=True)


@pytest.mark.parametrize(("wrong", "passes"), [(2, True), (3, False)])
def test_int8_is_refused_where_more_than_two_of_a_hundred_clips_change_their_class(wrong, passes):
    def file(clips: np.ndarray) -> np.ndarray:
        return np.where(clips.reshape(-1, 1) > 100 - wrong, model(clips)[:, ::-1], model(clips))

    found = compare(model, file, CLIPS)
    assert (found.agreeing, found.share) == (100 - wrong, 1 - wrong / 100)
    if passes:
        require(found, int8=True)
    else:
        with pytest.raises(ValueError, match="names another class on 3 of 100 clips, and at most 2% may be"):
            require(found, int8=True)


@pytest.mark.parametrize(("off", "passes"), [(0, True), (1e-3, False)])
def test_log_scores_of_a_single_class_are_all_0_and_compared_as_they_are(off, passes):
    found = compare(lambda clips: np.zeros((len(clips), 1)), lambda clips: np.full((len(clips), 1), off), CLIPS[:4])
    assert found.largest_difference == off
    if passes:
        require(found, int8=False)
    else:
        with pytest.raises(ValueError, match="nothing was written"):
            require(found, int8=False)


@pytest.mark.parametrize("size", [2, 5])
def test_a_file_that_is_wrong_in_one_size_of_batch_is_found(size):
    def file(clips: np.ndarray) -> np.ndarray:
        return model(clips)[:, ::-1] if len(clips) == size else model(clips)

    found = compare(model, file, CLIPS)
    assert found.agreeing == 0
    assert found.largest_difference == pytest.approx(0.985)


def test_both_are_timed_on_each_clip_turn_by_turn():
    seen: list[tuple[str, int]] = []

    def of(name: str):
        return lambda clips: seen.append((name, len(clips))) or model(clips)

    found = compare(of("model"), of("file"), CLIPS[:4], batches=(1,))
    assert [name for name, _ in seen[2:]] == ["file", "model", "model", "file"] * 2
    assert {size for _, size in seen} == {1}
    assert min(found.ratio, found.model_milliseconds, found.file_milliseconds) > 0
    assert str(found).startswith("on 4 clips in batches of 1: largest difference 0.0e+00 of the largest logit")
