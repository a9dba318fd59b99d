"""Files whole or not at all, and the system's errors by the name of the file that was asked for."""

import os
import stat
from pathlib import Path

import pytest

from mvit import files


def test_what_was_there_stays_after_an_error_and_goes_after_none(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    own = tmp_path / ".a.txt.tmp"
    own.write_text("somebody's")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "half \ud800")
    assert path.read_text() == "old"
    with files.replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert own.read_text() == "somebody's"
    assert sorted(tmp_path.iterdir()) == [own, path]


@pytest.mark.skipif(os.name == "nt", reason="files there have no such modes")
def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        with files.replacing(tmp_path / "a") as temporary:
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors does
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "note").touch()
    below = tmp_path / "note" / "a"
    with pytest.raises(NotADirectoryError) as caught, files.replacing(below):
        pass
    assert caught.value.filename == str(below)
    missing = tmp_path / "none" / "a"
    with pytest.raises(FileNotFoundError) as caught, files.replacing(missing):
        pass
    assert caught.value.filename == str(missing), "a folder that went away during the work is not made anew"
    older = 'IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'
    for words in ("No space left on device (os error 28)", older):
        with pytest.raises(OSError, match="space") as caught, files.blaming(Path("b")):
            raise ValueError(f"while serializing: {words}")
        assert (caught.value.errno, caught.value.filename) == (28, "b")
    with pytest.raises(ValueError, match="our fault"), files.blaming(Path("b")):
        raise ValueError("our fault")


def test_a_folder_is_made_when_a_file_is_written_and_not_when_it_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "new" / "newer" / "a.txt"
    files.require_writable(path)
    monkeypatch.chdir(tmp_path)
    files.require_writable(Path("new/a.txt"))
    files.require_writable(Path("a.txt"))
    assert list(tmp_path.iterdir()) == []
    files.write_text(path, "there")
    assert path.read_text() == "there"
    files.require_writable(path)
    assert path.read_text() == "there"


def test_a_folder_that_was_made_goes_with_the_error(tmp_path):
    path = tmp_path / "new" / "newer" / "a.txt"

    def fail(*, after: str = "") -> None:
        if after:
            path.with_name(after).touch()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), files.folder_of(path):
        fail()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no"), files.folder_of(path):
        fail(after="kept")
    assert [found.name for found in path.parent.iterdir()] == ["kept"]


def test_where_no_file_can_be_is_said_before(tmp_path):
    (tmp_path / "note").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for path, kind in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "note" / "a", NotADirectoryError),
        (tmp_path / "note" / "new" / "a", NotADirectoryError),
        (tmp_path / "gone" / "a", NotADirectoryError),
        (tmp_path / ("long" * 100) / "a", OSError),
        (tmp_path / "new" / ("long" * 100), OSError),
    ):
        with pytest.raises(kind) as caught:
            files.require_writable(path)
        assert caught.value.filename == str(path)
