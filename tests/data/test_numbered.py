"""One definition of the frames of a folder, for those that find videos and those that open them."""

import pytest

from mvit.data import numbered


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        (["img_10.jpg", "img_9.jpg", "img_1.JPG"], ["img_1.JPG", "img_9.jpg", "img_10.jpg"]),
        (["00002.png", "00001.jpeg", "notes.txt", ".1.jpg", "clip.mp4"], ["00001.jpeg", "00002.png"]),
        (["cam1_2_left.jpg", "cam1_1_left.jpg"], ["cam1_1_left.jpg", "cam1_2_left.jpg"]),
        (["f2.jpg", "f1000000000000000000000000.jpg"], ["f2.jpg", "f1000000000000000000000000.jpg"]),
        (["7.jpg"], ["7.jpg"]),
    ],
)
def test_pictures_are_put_in_order(names, frames):
    assert numbered.in_order(names) == frames
    assert numbered.in_order(reversed(names)) == frames


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "without numbered pictures"),
        (["1.bmp", "2.bmp"], "without numbered pictures"),
        (["cat.jpg"], "cat.jpg has no number"),
        (["1.jpg", "cover.jpg"], "cover.jpg has no number"),
        (["1.jpg", "x2.jpg"], "1.jpg and x2.jpg differ by more than a number"),
        (["cam1_1.jpg", "cam1_2.jpg", "cam2_3.jpg"], "differ in 2 numbers"),
        (["1.jpg", "01.jpg"], "several of its pictures have the same number"),
        (["1.jpg", "1.png"], "several of its pictures have the same number"),
    ],
)
def test_what_can_be_put_in_no_order_says_why(names, reason):
    with pytest.raises(ValueError, match=reason):
        numbered.in_order(names)
