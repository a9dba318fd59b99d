"""Held-out parts and folds: about the share asked of every class, groups whole, the same for a seed."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data.dataset import find
from mvit.data.samples import Sample
from mvit.data.sampling import Part
from mvit.data.splits import folds, grouped, partition, split, thinned

groups = st.one_of(st.none(), st.integers(0, 6).map(lambda number: f"person{number}"))
labelled = st.lists(st.tuples(st.sampled_from("abcd"), groups), min_size=1, max_size=60)


@given(labelled, st.floats(0.05, 0.95), st.integers(0, 3))
def test_split_keeps_groups_whole_and_a_sample_of_every_class(items, fraction, seed):
    samples = [Sample(Path(f"{index}.mp4"), label, group) for index, (label, group) in enumerate(items)]
    kept, held_out = split(samples, fraction, seed)
    assert sorted(kept + held_out, key=lambda sample: int(sample.path.stem)) == samples
    assert {sample.label for sample in kept} == {sample.label for sample in samples}
    sides = defaultdict(set)
    for side, part in (("kept", kept), ("held out", held_out)):
        for sample in part:
            sides[sample.group].add(side)
    assert all(len(found) == 1 for group, found in sides.items() if group is not None)
    assert split(samples, fraction, seed) == (kept, held_out)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1), st.floats(0.05, 0.6))
def test_split_without_groups_is_stratified_to_the_video(counts, fraction):
    samples = [Sample(Path(f"{label}{index}"), label) for label, count in counts.items() for index in range(count)]
    held = Counter(sample.label for sample in split(samples, fraction, 0)[1])
    for label, count in counts.items():
        assert abs(held[label] - max(1, fraction * count)) <= 0.5 or (count == 1 and held[label] == 0)


def test_split_takes_a_group_larger_than_the_target_rather_than_none():
    samples = [Sample(Path(str(index)), "a", f"person{index % 2}") for index in range(20)]
    kept, held_out = split(samples, 0.2, 0)
    assert (len(kept), len(held_out)) == (10, 10)


def test_split_by_person_of_the_gestures_is_near_the_share_asked(shared):
    listing = find(shared / "data" / "gestures" / "train.csv", val_fraction=0.2)
    people = [{sample.group for sample in part} for part in (listing.train, listing.val)]
    assert not people[0] & people[1]
    total = Counter(sample.label for sample in listing.train + listing.val)
    held = Counter(sample.label for sample in listing.val)
    assert all(0.12 < held[label] / total[label] < 0.30 for label in listing.classes)


@given(labelled, st.integers(2, 5), st.integers(0, 3))
def test_folds_hold_every_sample_out_once_and_keep_groups_whole(items, number, seed):
    samples = [Sample(Path(f"{index}.mp4"), label, group) for index, (label, group) in enumerate(items)]
    try:
        dealt = folds(samples, number, seed)
    except ValueError:
        members = defaultdict(set)  # too few groups, or a class that is in too few of them
        for index, sample in enumerate(samples):
            members[sample.label].add(sample.group or index)
        assert len(set().union(*members.values())) < number or min(map(len, members.values())) < 2 * number
        return
    assert sorted(int(sample.path.stem) for fold in dealt for sample in fold) == list(range(len(samples)))
    assert all(dealt)
    where = defaultdict(set)
    for place, fold in enumerate(dealt):
        for sample in fold:
            where[sample.group].add(place)
        rest = {sample.label for other in dealt if other is not fold for sample in other}
        assert {sample.label for sample in fold} <= rest
    assert all(len(places) == 1 for group, places in where.items() if group is not None)
    assert folds(samples, number, seed) == dealt


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(5, 40), min_size=1), st.integers(2, 5))
def test_folds_without_groups_are_stratified_to_the_video(counts, number):
    samples = [Sample(Path(f"{label}{index}"), label) for label, count in counts.items() for index in range(count)]
    for fold in folds(samples, number, 0):
        held = Counter(sample.label for sample in fold)
        assert all(abs(held[label] - count / number) < 1 for label, count in counts.items())


def test_as_many_folds_as_groups_leave_one_out_each():
    samples = [
        Sample(Path(f"{person}{n}"), "ab"[n % 2], f"p{person}") for person in range(4) for n in range(person + 2)
    ]
    dealt = folds(samples, 4, 0)
    assert sorted(len({sample.group for sample in fold}) for fold in dealt) == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"number of folds is 5, but must be 2 to 4"):
        folds(samples, 5, 0)
    with pytest.raises(ValueError, match=r"1 class would be in one of 2 folds only \(a\)"):
        folds([Sample(Path("1"), "a"), Sample(Path("2"), "b"), Sample(Path("3"), "b")], 2, 0)


def test_parts_of_one_video_stay_together_without_groups():
    samples = [Sample(Path(f"{n // 4}.mp4"), "ab"[n % 2], None, Part(n, n + 1)) for n in range(40)]
    kept, held_out = split(samples, 0.3, 0)
    assert held_out
    assert not {sample.path for sample in kept} & {sample.path for sample in held_out}
    samples += [Sample(Path(f"{n}.mp4"), "a") for n in range(10)]
    for seed in range(3):
        kept, held_out = split(samples, 0.3, seed)
        assert not {sample.path for sample in kept} & {sample.path for sample in held_out}, "nor a whole one and a part"


def test_samples_of_several_classes_are_split_by_all_of_them():
    samples = [Sample(Path(str(n)), tuple("abc"[k] for k in range(3) if n % (k + 2) == 0)) for n in range(120)]
    _, held_out = split(samples, 0.25, 0)
    total = Counter(label for sample in samples for label in sample.labels)
    held = Counter(label for sample in held_out for label in sample.labels)
    assert all(abs(held[label] / total[label] - 0.25) < 0.1 for label in "abc")


def test_samples_without_a_class_are_dealt_out_as_those_of_one_class_are():
    samples = [Sample(Path(str(n)), ("a",) if n % 2 else ()) for n in range(200)]
    _, held_out = split(samples, 0.2, 0)
    assert Counter(sample.labels for sample in held_out) == {("a",): 20, (): 20}
    mixed = [
        Sample(Path(str(n)), labels, group)
        for n, (labels, group) in enumerate([(("a",), "one"), ((), "one"), (("a",), "two"), (("b",), "two")])
    ]
    assert [sample.group for sample in split(mixed, 0.5, 0)[1]] == ["one", "one"], "all without a class may go"
    few = [sample for sample in samples if sample.labels][:8] + samples[:2:2]
    assert [sum(not sample.labels for sample in fold) for fold in folds(few, 2, 0)] in ([0, 1], [1, 0])
    alone = [Sample(Path(str(n)), (), "one group") for n in range(300, 304)]
    assert sum(len(fold) for fold in folds([*few, *alone], 2, 0)) == 13, "none of them need be learned"


def test_three_parts_have_the_shares_asked():
    samples = [Sample(Path(str(n)), "ab"[n % 2], f"g{n // 5}") for n in range(200)]
    (made,) = partition(samples, val=0.2, test=0.1, folds_number=0, whole_groups=True, seed=1)
    assert [(name, len(part)) for name, part in made.parts()] == [("train", 140), ("val", 40), ("test", 20)]
    assert str(made) == "140 train (28 groups), 40 val (8 groups), 20 test (4 groups)"
    sides = [{sample.group for sample in part} for _, part in made.parts()]
    assert sum(map(len, sides)) == 40
    (by_video,) = partition(samples, val=0.2, test=0, folds_number=0, whole_groups=False, seed=1)
    assert len(by_video.val) == 40
    assert {sample.group for sample in by_video.val} <= {sample.group for sample in samples}
    assert {sample.group for sample in by_video.train} & {sample.group for sample in by_video.val}


def test_what_cannot_be_held_out_is_refused():
    samples = [Sample(Path(str(n)), "ab"[n % 2], "ab"[n % 2]) for n in range(20)]
    with pytest.raises(ValueError, match=r"no val can be held out of 20 videos without emptying a class: .* 2 groups"):
        partition(samples, val=0.2, test=0, folds_number=0, whole_groups=True, seed=0)
    with pytest.raises(ValueError, match=r"0\.6 and 0\.5, but must be below 1 together"):
        partition(samples, val=0.6, test=0.5, folds_number=0, whole_groups=True, seed=0)


def test_groups_are_found_in_names_when_asked():
    samples = [Sample(Path(f"x/v_{name}_c01.avi"), "a") for name in ("g01", "g02")]
    assert [sample.group for sample in grouped(samples, r"_(g\d+)_")] == ["g01", "g02"]
    assert [sample.group for sample in grouped(samples, r"g\d+")] == ["g01", "g02"]
    with pytest.raises(ValueError, match=r"finds no group in 1 of 2 names: v_g02_c01\.avi"):
        grouped(samples, "g01")
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        grouped(samples, "(")


def test_a_smaller_share_is_part_of_a_larger_one_and_has_of_every_class():
    samples = [
        Sample(Path(f"{label}{index}"), label) for label, count in (("a", 30), ("b", 7)) for index in range(count)
    ]
    parts = {share: thinned(samples, share, seed=4) for share in (0.1, 0.25, 0.5, 1.0)}
    assert [Counter(sample.label for sample in part) for part in parts.values()] == [
        {"a": 3, "b": 1},
        {"a": 8, "b": 2},
        {"a": 15, "b": 4},
        {"a": 30, "b": 7},
    ]
    assert set(parts[0.1]) < set(parts[0.25]) < set(parts[0.5]) < set(samples)
    assert parts[0.5] == tuple(sample for sample in samples if sample in set(parts[0.5])), "in their order"
    assert thinned(samples, 0.5, seed=5) != parts[0.5]
    with pytest.raises(ValueError, match="share of videos to keep is 0"):
        thinned(samples, 0, seed=4)
