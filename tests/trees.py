"""Data sets made of empty files and small tables, for tests in which nothing is decoded."""

from pathlib import Path


def tree(root: Path, *files: str) -> Path:
    """Make empty files under a folder, which is given back."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def table(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """Write a text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def names(samples) -> list[str]:
    """File names of samples."""
    return [sample.path.name for sample in samples]


def videos(count: int, folder: str) -> list[str]:
    """Paths of this many videos in a folder."""
    return [f"{folder}/{index}.mp4" for index in range(count)]
