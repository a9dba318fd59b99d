"""Mirrors told from names, as tables."""

import pytest

from mvit.data.directions import mirror_in_space, mirror_in_time


def _pairs(*pairs: tuple[str, str]) -> dict[str, str]:
    return dict(pairs) | {b: a for a, b in pairs}


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["jump", "clap"], {"jump": "jump", "clap": "clap"}),
        (["swipe_left", "swipe_right", "tap"], {**_pairs(("swipe_left", "swipe_right")), "tap": "tap"}),
        (["turnLeft", "Turn Right"], _pairs(("turnLeft", "Turn Right"))),
        (["rotation_cw", "rotation_ccw"], _pairs(("rotation_cw", "rotation_ccw"))),
        (["Clockwise", "CounterClockwise"], _pairs(("Clockwise", "CounterClockwise"))),
        (["spin clockwise", "spin anti-clockwise"], _pairs(("spin clockwise", "spin anti-clockwise"))),
        (["spin clockwise", "spin anticlockwise"], _pairs(("spin clockwise", "spin anticlockwise"))),
        (["push_left_to_right", "push_right_to_left"], _pairs(("push_left_to_right", "push_right_to_left"))),
        (["swipe_up", "swipe_down"], {"swipe_up": "swipe_up", "swipe_down": "swipe_down"}),
        (["bright", "write", "cleft", "uplift"], {name: name for name in ("bright", "write", "cleft", "uplift")}),
        (["kick_left", "kick"], None),
        (["turn_left", "turn_right", "rotate_cw"], None),
        (["left", "Left", "right"], None),  # two classes of one meaning: which is the mirror of right?
        ([], {}),
    ],
)
def test_mirror_in_space(classes, expected):
    assert mirror_in_space(classes) == expected


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["jump", "clap"], {}),
        (["left", "right", "up", "down"], _pairs(("left", "right"), ("up", "down"))),
        (
            ["grow", "shrink", "clockwise", "counter-clockwise"],
            _pairs(("grow", "shrink"), ("clockwise", "counter-clockwise")),
        ),
        (["sit", "stand", "walk"], _pairs(("sit", "stand"))),
        (["Sitting down", "Standing up"], _pairs(("Sitting down", "Standing up"))),
        (["open_door", "close_door", "open_bottle"], _pairs(("open_door", "close_door"))),
        (["opening_door", "closes door"], _pairs(("opening_door", "closes door"))),
        (["zoom_in", "zoom_out", "run_in"], _pairs(("zoom_in", "zoom_out"))),
        (["put_on_hat", "take_off_hat"], _pairs(("put_on_hat", "take_off_hat"))),
        (["grab", "expand", "pinch"], _pairs(("grab", "expand"))),
        (["expand", "pinch"], _pairs(("expand", "pinch"))),
        (
            ["pushing box from left to right", "pulling box from right to left", "pushing box from right to left"],
            _pairs(("pushing box from left to right", "pulling box from right to left")),
        ),
        (["wave_left_hand", "wave_right_hand"], {}),  # which hand, not whereto
        (["raise_left_hand", "lower_left_hand", "raise_right_hand"], _pairs(("raise_left_hand", "lower_left_hand"))),
        (["left", "up", "backward"], {}),
        (["up", "Up", "down"], {}),
        ([], {}),
    ],
)
def test_mirror_in_time(classes, expected):
    assert mirror_in_time(classes) == expected


def test_real_classes(shared):
    gestures = (shared / "data/gestures/classes.txt").read_text().split()
    swaps = _pairs(("rotation_cw", "rotation_ccw"), ("swipe_right", "swipe_left"))
    assert mirror_in_space(gestures) == {name: swaps.get(name, name) for name in gestures}
    assert mirror_in_time(gestures) == swaps | _pairs(("grab", "expand"), ("swipe_up", "swipe_down"))
    actions = (shared / "data/actions/classes.txt").read_text().split()
    assert mirror_in_space(actions) == {name: name for name in actions}
    assert mirror_in_time(actions) == _pairs(("sit", "stand"))
