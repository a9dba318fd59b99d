"""Vectors are what the head reads; files of them say what their rows are of."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mvit
from mvit.data.gather import gather
from mvit.data.views import read_views
from mvit.deploy.embedding import HEADER, Vectors, embedded, write, write_dense
from mvit.deploy.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(run) -> Predictor:
    return mvit.load(run, device="cpu")


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


def test_the_head_makes_logits_of_vectors(predictor, videos):
    views = read_views(next(videos.glob("*/*.mp4")), predictor.preprocessing, clips=2)
    vectors = predictor.vectors(views)
    with torch.inference_mode():
        logits = predictor.model.head(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(logits, predictor.logits(views), rtol=1e-5, atol=1e-6)


def test_pyramids_are_the_model_s_features(predictor, videos):
    views = read_views(next(videos.glob("*/*.mp4")), predictor.preprocessing, clips=2)
    with torch.inference_mode():
        wanted = predictor.model.features(torch.from_numpy(views))
    for level, other in zip(predictor.pyramids(views), wanted, strict=True):
        np.testing.assert_allclose(level, other.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_change_no_vector(predictor, videos, batch):
    samples = gather([videos], images=False)
    for sample, vectors in embedded(predictor, samples, (3, 1), batch=batch):
        wanted = predictor.vectors(read_views(sample.path, predictor.preprocessing, clips=3))
        np.testing.assert_allclose(vectors, wanted, rtol=1e-4, atol=1e-5)


def test_a_row_a_video_and_a_table_of_them(run, predictor, videos, mvit, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    code, out, err = mvit("embed", run, videos, bad, "--out", tmp_path / "all.npy")
    count = len(list(videos.glob("*/*.mp4")))
    assert code == 0, err
    assert f"{bad} cannot be read" in err
    assert f"Wrote {count} of {count + 1} videos" in out
    matrix = np.load(tmp_path / "all.npy", allow_pickle=False)
    rows = table(tmp_path / "all.csv")
    assert (rows[0], matrix.shape, matrix.dtype) == (list(HEADER), (count, 32), np.float32)
    for number, (row, vector) in enumerate(zip(rows[1:], matrix, strict=True)):
        wanted = predictor.vectors(read_views(row[1], predictor.preprocessing, clips=predictor.views[0])).mean(axis=0)
        assert (row[0], row[2]) == (str(number), "")
        np.testing.assert_allclose(vector, wanted, rtol=1e-4, atol=1e-5)


def test_a_row_a_clip_is_the_mean_over_crops(run, predictor, videos, mvit, tmp_path):
    code, _, err = mvit(
        "embed", run, videos / "wait", "--of", "clip", "--views", "2x3", "--out", tmp_path / "clips.npy"
    )
    assert code == 0, err
    rows = table(tmp_path / "clips.csv")[1:]
    matrix = np.load(tmp_path / "clips.npy", allow_pickle=False)
    assert [row[2] for row in rows] == ["0", "1"] * (len(rows) // 2)
    views = read_views(rows[0][1], predictor.preprocessing, clips=2, crops=3)
    wanted = predictor.vectors(views).reshape(2, 3, -1).mean(axis=1)
    np.testing.assert_allclose(matrix[:2], wanted, rtol=1e-4, atol=1e-5)


def test_parquet_holds_the_same(run, videos, mvit, library, tmp_path):
    parquet = library("pyarrow.parquet", "scale")
    for name in ("a.npy", "a.parquet"):
        assert mvit("embed", run, videos, "--out", tmp_path / name)[0] == 0
    written = parquet.read_table(tmp_path / "a.parquet")
    np.testing.assert_array_equal(np.stack(written["vector"].to_numpy()), np.load(tmp_path / "a.npy"))
    assert written["video"].to_pylist() == [row[1] for row in table(tmp_path / "a.csv")][1:]
    told = json.loads((run / "model.json").read_text())
    assert written.schema.metadata[b"protocol"].decode() == told["protocol"]


def test_dense_features_are_a_file_a_video(run, predictor, videos, mvit, refused, tmp_path):
    out = tmp_path / "dense"
    code, _, err = mvit("embed", run, videos / "wait", "--of", "dense", "--views", "1x1", "--out", out)
    assert code == 0, err
    files = sorted(out.iterdir())
    assert len(files) == len(list((videos / "wait").glob("*.mp4")))
    with np.load(files[0], allow_pickle=False) as found:
        views = read_views(str(found["video"]), predictor.preprocessing, clips=1)
        for stage, level in enumerate(predictor.pyramids(views), start=1):
            np.testing.assert_allclose(found[f"stage{stage}"], level, rtol=1e-4, atol=1e-5)
    assert "is not empty" in refused("embed", run, videos, "--of", "dense", "--out", out)


def test_dense_features_are_computed_so_many_clips_at_once(predictor, videos, tmp_path, monkeypatch):
    samples, sizes, pyramids = gather([videos / "wait" / "0.mp4"], images=False), [], Predictor.pyramids
    views = read_views(samples[0].path, predictor.preprocessing, clips=5)
    wanted = predictor.pyramids(views)

    def counted(self, clips):
        sizes.append(len(clips))
        return pyramids(self, clips)

    monkeypatch.setattr(Predictor, "pyramids", counted)
    ((_, file),) = write_dense(predictor, samples, tmp_path / "dense", (5, 1), batch=2)
    assert sizes == [2, 2, 1]
    with np.load(file, allow_pickle=False) as found:
        for stage, level in enumerate(wanted, start=1):
            np.testing.assert_allclose(found[f"stage{stage}"], level, rtol=1e-4, atol=1e-5)


def test_a_table_of_something_else_is_not_written_over(run, videos, mvit, refused, tmp_path):
    words, labels = ("embed", run, videos / "wait" / "0.mp4", "--out", tmp_path / "all.npy"), tmp_path / "all.csv"
    labels.write_text("path,label\n0.mp4,wait\n")
    assert f"{labels} is no table of vectors" in refused(*words)
    assert labels.read_text() == "path,label\n0.mp4,wait\n"
    assert not (tmp_path / "all.npy").exists()
    labels.unlink()
    for _ in range(2):  # its own it may
        assert mvit(*words)[0] == 0


def test_a_kill_leaves_no_rows_beside_the_table_of_others(tmp_path, monkeypatch):
    def rows(video: str, value: int) -> Vectors:
        return Vectors(rows=[np.full(2, value)], videos=[video], clips=[None])

    path, lines = write(rows("one.mp4", 1), tmp_path / "all.npy", {})
    before = path.read_bytes(), lines.read_bytes()

    def killed(*_, **__):
        raise KeyboardInterrupt

    for where in ("numpy.save", "mvit.files.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(where, killed)
            with pytest.raises(KeyboardInterrupt):
                write(rows("two.mp4", 2), path, {})
        assert not lines.exists() or (path.read_bytes(), lines.read_bytes()) == before
    assert path.read_bytes()


def test_what_cannot_be_written_is_refused_before_anything_is_computed(run, videos, refused, tmp_path):
    assert ".npy or .parquet" in refused("embed", run, videos, "--out", tmp_path / "all.txt")
    assert "at least one video" in refused("embed", run, "--out", tmp_path / "all.npy")
    (tmp_path / "file").touch()
    assert "file/all.npy: Not a directory" in refused("embed", run, videos, "--out", tmp_path / "file" / "all.npy")
    dense = ("embed", run, videos, "--of", "dense", "--out", tmp_path / "file" / "dense")
    assert "file/dense: Not a directory" in refused(*dense)
