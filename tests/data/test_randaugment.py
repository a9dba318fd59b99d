"""The grammar and the arguments against timm's; draws follow from the generator alone."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from mvit.data.randaugment import NAMES, WEIGHTS, RandAugment, argument, draw, parse

TEXTS = [
    "rand-m7-n4-mstd0.5-inc1",
    "rand-m9-n6-mstd0.5-inc1",
    "rand-m9-mstd101",
    "rand",
    "rand-inc0-n3-p0.7-m15-mmax20",
    "rand-m9-n3-inc1-tweights",
]


@pytest.mark.parametrize("text", TEXTS)
def test_settings_are_timms(library, text):
    timm = library("timm.data.auto_augment", "peers")
    theirs, ours = timm.rand_augment_transform(text), parse(text)
    first = theirs.ops[0]
    assert (ours.operations, ours.probability, ours.magnitude) == (theirs.num_layers, first.prob, first.magnitude)
    assert ours.deviation == first.magnitude_std
    assert ours.highest == (first.magnitude_max or timm._LEVEL_DENOM)
    names = [op.name.removesuffix("Increasing") for op in theirs.ops]
    assert sorted(names) == sorted(NAMES)
    assert ours.increasing == any(op.name.endswith("Increasing") for op in theirs.ops)
    if ours.weighted:
        expected = dict(zip(names, theirs.choice_weights, strict=True))
        assert [weight / sum(WEIGHTS) for weight in WEIGHTS] == pytest.approx([expected[name] for name in NAMES])
    else:
        assert theirs.choice_weights is None


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_timms(library, monkeypatch, name, increasing):
    timm = library("timm.data.auto_augment", "peers")
    theirs = timm.LEVEL_TO_ARG[name + "Increasing" * (increasing and name + "Increasing" in timm.LEVEL_TO_ARG)]
    for sign, draws in ((1, 0.0), (-1, 1.0)):
        monkeypatch.setattr(random, "random", lambda draws=draws: draws)
        for level in (0.0, 0.31, 1.0, 6.5, 7.0, 7.49, 9.99, 10.0):
            expected = theirs(level, {"translate_const": 250})[0] if theirs else 0.0
            assert argument(name, level, sign, increasing) == expected, level


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m7-n4", "must begin with 'rand'"),
        ("rand-m7.5", "'m7.5' is none of m7, n4"),
        ("rand-m7-m8", "'m8' is none of m7, n4, .* or stands there twice"),
        ("rand-w0", "'w0' is none of"),
        ("rand-", "'' is none of"),
        ("rand-tweights", "tweights needs inc1"),
        ("rand-p1.5", "p goes up to 1"),
        ("rand-n0", "n from 1 to 15"),
        ("rand-n16", "n from 1 to 15"),
        ("rand-m٣", "none of"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused_in_a_sentence(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_a_draw_follows_from_the_generator_alone():
    settings = parse(TEXTS[0])
    np.random.seed(0)  # noqa: NPY002 (the global generators must not matter)
    first = draw(settings, np.random.default_rng(5))
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert draw(settings, np.random.default_rng(5)) == first
    assert len({str(draw(settings, np.random.default_rng(seed))) for seed in range(50)}) > 40


def test_draws_are_spread_as_said():
    settings, rng = parse("rand-m7-n4-mstd0.5-inc1"), np.random.default_rng(0)
    draws = [draw(settings, rng) for _ in range(3000)]
    counts = Counter(name for operations in draws for name, _ in operations)
    assert set(counts) == set(NAMES)
    assert np.mean([len(operations) for operations in draws]) == pytest.approx(2, abs=0.1)
    assert max(counts.values()) < 1.25 * min(counts.values())
    angles = np.array([argument for operations in draws for name, argument in operations if name == "Rotate"])
    assert abs(angles).mean() == pytest.approx(21, abs=0.3)
    assert abs(angles).std() == pytest.approx(1.5, abs=0.3)
    assert (angles > 0).mean() == pytest.approx(0.5, abs=0.1)
    levels = [
        abs(value) / 0.3 for _ in range(3000) for name, value in draw(parse("rand-m9-mstd101"), rng) if name == "ShearX"
    ]
    assert np.mean(levels) == pytest.approx(0.45, abs=0.05)
    never = RandAugment(probability=0.0)
    assert draw(never, rng) == []
    assert parse("rand-mstd200").deviation == math.inf
    weighted = [draw(parse("rand-m9-n3-p1-inc1-tweights"), rng) for _ in range(300)]
    assert all(len({name for name, _ in operations}) == 3 for operations in weighted)
    assert Counter(name for operations in weighted for name, _ in operations).most_common(1)[0][0] == "Rotate"
