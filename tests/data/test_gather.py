"""What is meant by the paths of a prediction."""

import numpy as np
import pytest
from PIL import Image

from mvit.data.gather import gather
from mvit.data.sampling import Part


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.mp4", "b/10.MP4", "b/notes.txt", "a/deep/1.avi", "a/cover.jpg", ".hidden/0.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "frames").mkdir()
    for n in range(3):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "frames" / f"img_{n}.png")
    return tmp_path


def names(root, found) -> list[str]:
    return [str(sample.path.relative_to(root)) for sample in found]


def test_folders_give_what_is_in_them_and_below(tree):
    assert names(tree, gather([tree], images=False)) == ["a/deep/1.avi", "b/10.MP4", "b/2.mp4", "frames"]
    assert names(tree, gather([tree / "a"], images=True)) == ["a/cover.jpg", "a/deep/1.avi"]
    (tree / "none").mkdir()
    with pytest.raises(ValueError, match="holds no video or image"):
        gather([tree / "none"], images=True)


def test_numbered_pictures_are_one_video_or_each_an_image(tree):
    pictures = [f"frames/img_{n}.png" for n in range(3)]
    for named in ("frames", "fr*"):
        assert names(tree, gather([tree / named], images=False)) == ["frames"]
        assert names(tree, gather([tree / named], images=True)) == pictures
    assert names(tree, gather([tree], images=True)) == ["a/cover.jpg", "a/deep/1.avi", "b/10.MP4", "b/2.mp4", *pictures]


def test_a_link_that_leads_back_up_is_not_followed(tree):
    (tree / "a" / "deep" / "up").symlink_to(tree / "a", target_is_directory=True)
    (tree / "b" / "other").symlink_to(tree / "a" / "deep", target_is_directory=True)
    assert names(tree, gather([tree / "a"], images=False)) == ["a/deep/1.avi"]
    assert "b/other/1.avi" in names(tree, gather([tree / "b"], images=False))


def test_patterns_give_what_fits(tree):
    assert names(tree, gather([tree / "b" / "*.mp4"], images=False)) == ["b/2.mp4"]
    assert names(tree, gather([tree / "**" / "*.avi"], images=False)) == ["a/deep/1.avi"]
    everything = names(tree, gather([tree / "**"], images=False))
    assert everything == ["a/deep/1.avi", "b/10.MP4", "b/2.mp4", "frames", "a/cover.jpg", "b/notes.txt"], "each once"
    tree.rename(tree.with_name("set [1]"))
    tree = tree.with_name("set [1]")
    assert names(tree, gather([tree / "b" / "*.mp4"] * 2, images=False)) == ["b/2.mp4"] * 2, "named twice, given twice"
    with pytest.raises(ValueError, match="nothing fits the pattern"):
        gather([tree / "*.mkv"], images=False)


def test_parts_are_of_a_video(tree):
    (found,) = gather([tree / "b" / "2.mp4#t=2.5,10"], images=False)
    assert (names(tree, [found]), found.part) == (["b/2.mp4"], Part(2.5, 10))
    for wrong in ("#t=a,b", "#t=3,2"):
        with pytest.raises(ValueError, match="names no part of a video"):
            gather([tree / f"2.mp4{wrong}"], images=False)


def test_a_path_that_is_there_is_taken_for_what_it_is(tree):
    for odd in ("what[0].mp4", "clip.mp4#t=1,2"):
        (tree / odd).touch()
        (found,) = gather([tree / odd], images=False)
        assert (found.path, found.part) == (tree / odd, None)
    (gone,) = gather([tree / "gone.mp4"], images=False)
    assert gone.path == tree / "gone.mp4"
