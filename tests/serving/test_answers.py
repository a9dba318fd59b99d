"""What a server answers is what the commands say."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mvit.deploy.opened import load
from mvit.evaluation.evaluate import score_video
from mvit.evaluation.scoring import by_name


def test_scores_are_those_of_evaluation(server, run, clip):
    model, answer = load(run), server.ask("POST", "/predict", clip.read_bytes())
    assert answer.status == 200
    assert answer.json["protocol"] == model.protocol
    assert answer.json["views"] == 3
    expected = model.predict(clip)
    assert list(answer.json["scores"]) == list(expected)
    np.testing.assert_allclose([*answer.json["scores"].values()], [*expected.values()], atol=1e-5)


def test_views_and_classes_as_asked(server, run, clip):
    model = load(run)
    answer = server.ask("POST", "/predict?views=10x3&top=2", clip.read_bytes()).json
    scores = score_video(model.logits, clip, model.preprocessing, 10, 3, model.scoring)
    expected = list(by_name(scores, model.classes).items())[:2]
    assert answer["views"] == 30
    assert answer["protocol"].startswith("10x3 views")
    assert list(answer["scores"]) == [name for name, _ in expected]
    np.testing.assert_allclose([*answer["scores"].values()], [score for _, score in expected], atol=1e-5)
    times = [answer[f"seconds_{stage}"] for stage in ("waited", "decoding", "computing")]
    assert min(times) >= 0


def test_windows_come_line_by_line_as_segment_has_them(server, run, clip, tmp_path):
    from mvit import cli

    out = tmp_path / "found.json"
    assert cli.main(["segment", str(run), str(clip), "--window", "0.2s", "--stride", "0.1s", "--out", str(out)]) == 0
    expected = json.loads(out.read_text())
    answer = server.ask("POST", "/segments?window=0.2s&stride=0.1&top=1", clip.read_bytes())
    *windows, last = answer.lines
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [(window["start"], window["end"]) for window in windows] == [
        (0, 0.2),
        (0.1, 0.3),
        (0.2, 0.4),
        (0.3, 0.5),
        (0.4, 0.6),
    ]
    assert {len(window["scores"]) for window in windows} == {1}
    assert last["duration"] == expected["seconds"]
    assert [s["label"] for s in last["segments"]] == [s["label"] for s in expected["segments"]]
    for name in ("start", "end", "score"):
        np.testing.assert_allclose(
            [s[name] for s in last["segments"]], [s[name] for s in expected["segments"]], atol=1e-5
        )


def test_a_class_map_with_its_times_and_place(server, clip):
    answer = server.ask("POST", "/explain?target=right", clip.read_bytes()).json
    maps = np.array(answer["maps"])
    assert answer["label"] == "right"
    assert maps.shape == (2, 8, 8)
    assert (maps.min(), maps.max()) == (0, 1)
    assert answer["times"] == sorted(answer["times"])
    assert len(answer["times"]) == 2
    # 50x48 pixels become 37x36; of these the middle 32
    np.testing.assert_allclose(answer["crop"], [3 / 37, 2 / 36, 35 / 37, 34 / 36], atol=1e-5)
    assert server.ask("POST", "/explain", clip.read_bytes()).json["label"] in ("left", "right", "up")


def test_the_model_says_what_it_is(server):
    facts = server.ask("GET", "/model").json
    assert facts["name"] == "movements"
    assert facts["classes"] == ["left", "right", "up"]
    assert facts["views"] == [3, 1]
    assert facts["clip"] == [4, 32, 32]
    assert facts["explains"] is True
    assert facts["limits"] == {"bytes": 2_000_000, "seconds": 20, "pixels": 4096 * 3072, "frames": 2**17}


def test_health_and_metrics(server, clip):
    assert server.ask("GET", "/health").json == {"status": "ok", "queue": 0, "capacity": 16}
    name = 'mvit_requests_total{path="/predict",status="200"}'
    server.ask("POST", "/predict", clip.read_bytes())
    before = server.metric(name)
    server.ask("POST", "/predict", clip.read_bytes())
    assert server.metric(name) == before + 1
    assert server.metric("mvit_queue") == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [("/predict?views=10x3", 200), ("/segments?window=0.2&stride=0.1", 200), ("/explain", 200)]
    + [(path, 422) for path in ("/predict", "/segments", "/explain")],
)
def test_seconds_count_each_request_once_in_every_stage(path, status, server, clip):
    """So that a sum by its count is what a request took, and an answer's seconds are those counted."""

    def now() -> dict[str, dict[str, float]]:
        stages = ("waiting", "decoding", "computing")
        return {of: {s: server.metric(f'mvit_seconds_{of}{{stage="{s}"}}') for s in stages} for of in ("count", "sum")}

    before = now()
    answer = server.ask("POST", path, clip.read_bytes() if status == 200 else b"garbage")
    assert answer.status == status
    after = now()
    assert after["count"] == {stage: count + 1 for stage, count in before["count"].items()}
    took = {stage: after["sum"][stage] - total for stage, total in before["sum"].items()}
    assert took["decoding"] > 0
    assert (took["computing"] > 0) == (status == 200)
    if path.startswith("/predict") and status == 200:
        told = [answer.json[f"seconds_{name}"] for name in ("waited", "decoding", "computing")]
        assert told == pytest.approx([*took.values()], abs=1e-4)


def test_an_image_is_a_video_of_one_frame(server, tmp_path):
    from mvit.data.stills import encoded

    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    answer = server.ask("POST", "/predict", encoded(picture, "png", "rgb24"), "image/png")
    assert answer.status == 200
    assert sum(answer.json["scores"].values()) == pytest.approx(1)


def test_every_answer_says_what_a_page_may_do(server):
    for path in ("/", "/model", "/nowhere"):
        headers = server.ask("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["permissions-policy"] == "camera=(self), microphone=()"
    assert server.ask("GET", "/").headers["content-type"] == "text/html; charset=utf-8"


def test_the_program_in_the_docs(server, clip, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/serve.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(program.replace("8000", str(server.port)), {})
    assert set(ast.literal_eval(capsys.readouterr().out)) == {"left", "right", "up"}
