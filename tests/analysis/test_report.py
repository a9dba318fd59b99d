"""The page says what the files of a run say, needs nothing but itself, and trusts no name."""

import csv
import html
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mvit.analysis import record
from mvit.analysis.report import report

CLASSES = ("grab", "expand", "swipe_left", "swipe_right", "swipe_up", "swipe_down", "tap", "shake")
HOSTILE = ("<script>alert(1)</script>", '"><img src=http://example.org/x onerror=alert(1)>', "a & b", "left\u202eright")


class Page(HTMLParser):
    """A page as a browser sees it: its elements with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.words).replace("\xa0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def shown(*runs: Path) -> Page:
    out = report(runs, runs[0].parent / "page" / "report.html")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    return Page(out.read_text(encoding="utf-8"))


def edited(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_page_says_what_the_files_say(make_run, tmp_path):
    run = make_run(tmp_path / "gestures-1", CLASSES, seed=7, unreadable=2)
    result, probe = (json.loads((run / name).read_text()) for name in ("result.json", "probe.json"))
    page = shown(run)
    assert result["headline"] in page.text
    assert probe["meaning"] in page.text
    assert "mvit_tiny_16x64 · 8 classes · seed 7 · 30 epochs in 27" in page.text
    assert (
        f"{100 * result['top1']:.1f} % top-1, 95 % interval over videos {100 * result['top1_interval'][0]:.1f} to"
        in page.text
    )
    assert "96 of 98" in page.text
    assert "videos/broken_0.mp4 it holds no video: moov atom not found evaluation" in page.text
    assert "videos/cut.mp4 it ends early training" in page.text
    assert 'name = "mvit_tiny_16x64"' in page.text
    for name in CLASSES:
        figures = result["per_class"][name]
        assert f"{name} 12 {100 * figures['recall']:.1f} % {100 * figures['precision']:.1f} %" in page.text
    assert [tag for tag, _ in page.elements].count("h2") == 9
    assert "missing" not in [attributes.get("class") for _, attributes in page.elements]


def test_the_order_of_frames_is_told_by_disorder_distance_pair_and_class(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES)
    probe = json.loads((run / "probe.json").read_text())
    page = shown(run)
    told = page.text.split("Order of frames")[1].split("Confusions")[0]
    for name in probe["disorders"][1:]:
        low, high = probe["drop_intervals"][name]
        assert f"{probe[name]['title']} {probe['drops'][name]:z.1f} points lost [{low:z.1f}, {high:z.1f}]" in told
    assert told.count("95 % intervals over 12 groups") == 2
    edited(run / "probe.json", sampled={"unit": "group", "count": 12, "groups": 9})
    assert shown(run).text.count("95 % intervals over 9 groups and 3 videos without one") == 2
    most = probe["shuffled"]["most_called"]
    assert f"Shuffled, {100 * most['share']:.1f} % are called {most['class']}" in told
    assert "Kendall distance: share of pairs of frames in the wrong order" in told
    pair = probe["collapses"][0]
    assert f"{' and '.join(pair['classes'])}" in told
    assert f"{pair['videos']} {100 * pair['ordered']:.1f} % {100 * pair['shuffled']:.1f} %" in told
    figures = probe["per_class"]["tap"]
    shares = (figures[name] for name in ("ordered", "shuffled", "deranged_4", "windows_4", "reversed", "single_frame"))
    assert f"tap 12 {' '.join(f'{100 * share:.1f} %' for share in shares)} " in told
    assert "trained on shuffled clips" not in told
    with (run / "recipe.toml").open("a") as file:
        file.write('[augment]\norder = "shuffled"\n')
    assert "The model was trained on shuffled clips" in shown(run).text


def test_a_probe_of_before_has_its_four_orders(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES)
    probe = json.loads((run / "probe.json").read_text())
    new = {"disorders", "sampled", "not_asked", "kendall", "per_class", "collapses", "drop_intervals", "frames"}
    old = {key: value for key, value in probe.items() if key not in new}
    for name in ("ordered", "shuffled", "reversed", "single_frame"):
        old[name] = {key: value for key, value in old[name].items() if key not in ("title", "orders", "most_called")}
    (run / "probe.json").write_text(json.dumps(old))
    told = shown(run).text.split("Order of frames")[1].split("Confusions")[0]
    assert f"one frame, repeated {probe['drops']['single_frame']:z.1f} points lost" in told
    assert "intervals over 96 videos" in told
    assert "Kendall" not in told


def test_worst_mistakes_are_the_wrong_ones_by_loss(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, skill=1.0)
    with (run / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = sorted((row for row in rows if row["correct"] == "0"), key=lambda row: float(row[row["label"]]))
    assert len(wrong) > record.WORST
    table = shown(run).text.split("Worst mistakes")[1].split("Probable label errors")[0]
    assert f"20 of {len(wrong)} wrong answers" in table
    places = [table.index(row["path"]) for row in wrong[: record.WORST]]
    assert places == sorted(places)
    assert wrong[record.WORST]["path"] not in table
    first = wrong[0]
    assert (
        f"{first['path']} {first['label']} {first['predicted']} "
        f"{float(first[first['predicted']]):.3f} {float(first[first['label']]):.3f} "
        f"{-math.log(float(first[first['label']])):.2f}"
    ) in table


def test_nothing_is_fetched_or_run(make_run, tmp_path):
    page = shown(make_run(tmp_path / "a", CLASSES), make_run(tmp_path / "b", HOSTILE))
    policies = [attributes for tag, attributes in page.elements if attributes.get("http-equiv")]
    assert policies == [
        {
            "http-equiv": "Content-Security-Policy",
            "content": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        }
    ]
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "use",
        "image",
    }
    for _, attributes in page.elements:
        assert not {key for key in attributes if key.startswith("on") or key in ("src", "xlink:href", "action")}
        assert attributes.get("href", "#").startswith("#")
    style = "".join(page.words)
    assert not re.search(r"url\(|@import", style)


def test_names_and_paths_are_text(make_run, tmp_path):
    run = make_run(tmp_path / "<b>run & co", HOSTILE, videos=3, skill=0.5)
    with (run / "unreadable.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [("path", "reason", "found_in"), ("caf\udce9/<i>.mp4", "<u>\x1b[31m", "scan")]
        csv.writer(file).writerows(rows)
    page = shown(run)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "b", "i", "u"}
    assert "<b>run & co" in page.text
    for name in HOSTILE[:3]:
        assert name in page.text
    assert "left\\u202eright" in page.text
    assert "caf\\udce9/<i>.mp4 <u>\\x1b[31m scan" in page.text


def test_what_is_missing_is_said_with_the_command_that_makes_it(make_run, tmp_path):
    run = make_run(tmp_path / "my run", CLASSES)
    (tmp_path / "probed").mkdir()
    (run / "probe.json").rename(tmp_path / "probed" / "probe.json")
    assert f"No order probe yet: run mvit probe '{run}' DATA" in shown(run).text
    assert "Of other videos or views" not in shown(run).text
    other = shutil.copytree(tmp_path / "probed", run / "on-clips")
    others = f"Of other videos or views the probe is drawn by mvit report '{other}' ."
    assert others in shown(run).text
    assert "points lost" in shown(other).text
    assert f"No result yet: run mvit evaluate '{run}' DATA" in shown(other).text
    assert "Report of a run my run/on-clips" in shown(other).text
    views = shutil.copytree(tmp_path / "probed", other / "views-5x1")
    assert f"No result yet: run mvit evaluate '{run}' DATA" in shown(views).text
    shutil.rmtree(views)
    shutil.copy(other / "probe.json", run)
    assert others in shown(run).text
    for name in ("result.json", "scores.csv", "calibration.json", "metrics.jsonl"):
        (run / name).unlink()
    text = shown(run).text
    for what in ("result", "scores of videos (scores.csv)", "calibration", "look for wrong labels"):
        assert f"No {what} yet: run mvit evaluate '{run}' DATA ." in text
    assert "no record of training (metrics.jsonl)" in text
    (run / "model.json").unlink()
    (run / "probe.json").unlink()
    (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.0}\n')
    text = shown(run).text
    go_on = f"as its training has not ended: go on with it by mvit train DATA --out '{run}' --resume ."
    assert all(
        f"No {what} yet, {go_on}" in text for what in ("result", "order probe", "figures by class", "calibration")
    )
    assert "mvit evaluate" not in text


def test_a_run_that_was_killed_or_diverged_is_told(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, epochs=2)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "loss": NaN, "skipped": 4, "lr": 0.001}\n{"epoch": 4, "lo')
    text = shown(run).text
    assert "Line 4 of metrics.jsonl is no record of an epoch and is left out." in text
    assert "1 epoch ended without a finite loss. 4 steps were skipped" in text


def test_runs_stand_side_by_side_with_mean_and_spread_over_seeds(make_run, tmp_path):
    seeds = [make_run(tmp_path / f"seed-{n}", CLASSES, seed=n) for n in range(3)]
    longer = make_run(tmp_path / "longer", CLASSES, epochs=40)
    for run, top1 in zip(seeds, (0.70, 0.74, 0.78), strict=True):
        edited(run / "result.json", top1=top1)
    page = shown(*seeds[:2], longer, seeds[2])
    table = page.text.split("seed-0", 1)[1].split("Training")[0]
    assert "mean of 3 seeds 74.0 ± 4.0" in table
    assert table.index("seed-2") < table.index("mean of 3 seeds") < table.index("longer")
    assert page.text.count("mean of") == 1
    assert {attributes["href"] for tag, attributes in page.elements if tag == "a"} == {
        f"#{attributes['id']}" for tag, attributes in page.elements if tag == "article"
    }
    assert "cannot be compared" not in page.text
    edited(seeds[1] / "probe.json", shuffled=json.loads((seeds[0] / "probe.json").read_text())["shuffled"])
    (seeds[2] / "probe.json").unlink()
    summary = shown(*seeds).text.split("mean of 3 seeds", 1)[1].split("Training")[0]
    assert re.match(r" 74\.0 ± 4\.0 (\d+\.\d ± \d+\.\d )\d+\.\d ± \d+\.\d \(of 2\) \d+\.\d ± 0\.0 \(of 2\)", summary)


def test_seeds_of_other_data_are_no_seeds_of_one(make_run, tmp_path):
    seeds = [make_run(tmp_path / f"seed-{n}", CLASSES, seed=n) for n in range(4)]

    def on(*data: tuple[str, str]) -> list[str]:
        for run, (folder, digest) in zip(seeds, data, strict=True):
            facts = {"folder": folder, "classes": 4, "train": 90, "val": 48, "sha256": digest}
            environment = {"system": "Linux", "hardware": {"processor": "Xeon"}, "versions": {}}
            origin = {"begun": "2026-11-24T12:00:00+00:00", "commit": None, "environment": environment, "data": facts}
            (run / "run.json").write_text(json.dumps(origin))
        return re.findall(r"mean of \d seeds", shown(*seeds).text)

    assert on(("/a", "0"), ("/b", "0"), ("/a", "1"), ("/a", "2")) == ["mean of 4 seeds"]  # moved, split by each seed
    assert on(("/a", "0"), ("/a", "0"), ("/b", "1"), ("/b", "1")) == ["mean of 2 seeds"] * 2
    assert on(("/a", "0"), ("/b", "1"), ("/c", "2"), ("/d", "3")) == []


def test_runs_of_one_seed_are_no_spread_over_seeds(make_run, tmp_path):
    runs = [make_run(tmp_path / name, CLASSES, skill=skill) for name, skill in (("wrong", -50), ("right", 50))]
    page = shown(*runs).text
    assert "0.0 % [0.0, " in page
    assert "mean of" not in page


def test_runs_measured_otherwise_are_neither_averaged_nor_taken_as_alike(make_run, tmp_path):
    first = make_run(tmp_path / "a" / "run", CLASSES, seed=0)
    second = make_run(tmp_path / "b" / "run", CLASSES, seed=1, protocol="1x1 views, 16x4, short side 256, crop 224")
    text = shown(first, second, make_run(tmp_path / "c" / "run", CLASSES, seed=2, videos=13)).text
    assert "cannot be compared: 1x1 views, 16x4, short side 256, crop 224; 5x1 views, 16 segments" in text
    assert "not measured on as many videos of the same classes" in text
    assert "mean of" not in text
    assert str(first) in text.split("Training")[0]  # as all three have the same name


@pytest.mark.parametrize("names", [["only"], ["no", "yes"], [f"class {n}" for n in range(70)]])
def test_any_number_of_classes_has_its_page(names, make_run, tmp_path):
    page = shown(make_run(tmp_path / "run", names, videos=3))
    assert ("top-5" in page.text) == (len(names) > 5)
    for name in names:
        assert name in page.text
    assert ("The other 40 classes" in page.text) == (len(names) == 70)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("result.json", "{", "no JSON"),
        ("result.json", "[]", "it is no object"),
        ("result.json", '{"accuracy": 1}', "it has no 'headline'"),
        ("probe.json", '{"meaning": 3}', "it has no 'protocol'"),
        ("scores.csv", "video,score\n", "header"),
        ("scores.csv", "path,label,predicted,correct,a,b\nx.mp4,a,c,0,1,0\n", "'c'"),
        ("scores.csv", "path,label,predicted,correct,a,b\nx.mp4,a,b,0,1,nan\n", "nan is no score"),
        ("recipe.toml", "[train", "no TOML"),
    ],
)
def test_a_foreign_file_is_named(file, content, message, make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=2)
    (run / file).write_text(content)
    with pytest.raises(ValueError, match=f"run/{file} .*{re.escape(message)}"):
        report([run], tmp_path / "report.html")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("top1", "much", "top1 is a str"),
        ("top1_interval", [0.1], "top1_interval is no pair"),
        ("confusion", [[1, 2]], "do not fit"),
        ("classes", [], "do not fit"),
        ("per_class", {"grab": {}}, "has no 'precision'"),
    ],
)
def test_a_result_that_does_not_hold_together_is_refused(key, value, message, make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=2)
    edited(run / "result.json", **{key: value})
    with pytest.raises(ValueError, match=re.escape(message)):
        report([run], tmp_path / "report.html")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kendall", [{}], "has no 'distance'"),
        ("sampled", {"unit": "group"}, "sampled has no 'count'"),
        ("drop_intervals", {}, "drop_intervals has no 'shuffled'"),
        ("per_class", {"grab": {"support": 1}}, "per_class.grab has no 'ordered'"),
        ("collapses", [{"classes": ["a", "b"]}], "has no 'videos'"),
        ("disorders", ["ordered", "frozen"], "it has no 'frozen'"),
    ],
)
def test_a_probe_that_does_not_hold_together_is_refused(key, value, message, make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=2)
    edited(run / "probe.json", **{key: value})
    with pytest.raises(ValueError, match=re.escape(message)):
        report([run], tmp_path / "report.html")


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"is no folder of a run: it holds none of result\.json"):
        report([tmp_path], tmp_path / "report.html")
    with pytest.raises(ValueError, match="does not exist"):
        report([tmp_path / "gone"], tmp_path / "report.html")
    with pytest.raises(ValueError, match="is a file"):
        report([tmp_path / "notes.txt"], tmp_path / "report.html")
    with pytest.raises(ValueError, match="at least one run"):
        report([], tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_browser_shows_the_page_and_takes_names_as_text(make_run, chromium, tmp_path):
    run = make_run(tmp_path / "run", [*HOSTILE, "tap"], videos=3, skill=1.0)
    out = report([run], run / "report.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1000,800"]
    command = [chromium, *flags, *offline, f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", out.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    seen = Page(done.stdout)
    assert [tag for tag, _ in seen.elements].count("svg") == 4 + 2 + 1 + 5 + 3
    assert not {tag for tag, _ in seen.elements} & {"script", "img"}
    assert html.escape(HOSTILE[0], quote=False) in done.stdout
    assert (tmp_path / "page.png").stat().st_size > 20_000


MEASURE = """<script>onload = () => {
  const sizes = [...document.querySelectorAll("svg text")].map(
    (text) => text.getScreenCTM().a * parseFloat(getComputedStyle(text).fontSize));
  document.body.dataset.smallest = Math.min(...sizes.filter((size) => size > 0));
  document.body.dataset.spill = document.documentElement.scrollWidth - innerWidth;
}</script>"""


def test_plots_can_be_read_on_a_phone_and_printed_without_empty_pages(make_run, chromium, tmp_path):
    """Wide plots go sideways in their frames, the page does not; the panels of a figure may part between pages."""
    run = make_run(tmp_path / "run", ["open", "close"], skill=1.5)
    text = report([run], run / "report.html").read_text(encoding="utf-8")
    text = re.sub("<meta http-equiv[^>]*>", "", text).replace("</body>", f"{MEASURE}</body>")
    (tmp_path / "measured.html").write_text(text, encoding="utf-8")
    flags = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    address = (tmp_path / "measured.html").as_uri()
    narrow = [*flags, "--window-size=500,800", "--dump-dom", address]
    found = subprocess.run(narrow, capture_output=True, text=True, timeout=100, check=True).stdout
    assert float(re.search(r'data-smallest="([^"]+)"', found)[1]) >= 10
    assert float(re.search(r'data-spill="([^"]+)"', found)[1]) <= 0
    subprocess.run(
        [*flags, f"--print-to-pdf={tmp_path / 'page.pdf'}", address], capture_output=True, timeout=100, check=True
    )
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "page.pdf").read_bytes())) <= 6


def test_the_page_says_where_a_run_comes_from(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES)
    assert "Gradient norm" not in shown(run).text
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    norms = ({"gradient_norm": 1.5, "gradient_norm_max": 4.0} for _ in lines)
    texts = (json.dumps(line | norm) + "\n" for line, norm in zip(lines, norms, strict=True))
    (run / "metrics.jsonl").write_text("".join(texts))
    origin = {
        "begun": "2026-11-24T12:00:00+00:00",
        "commit": "1234abcd+",
        "environment": {"system": "Linux-6", "hardware": {"processor": "Xeon"}, "versions": {"ffmpeg": "8.1.2"}},
        "data": {"folder": "/data", "classes": 8, "train": 3_000, "val": 96, "sha256": "00ff" * 16},
    }
    (run / "run.json").write_text(json.dumps(origin))
    page = shown(run)
    for words in ("Gradient norm before clipping", "1234abcd+", "Xeon, Linux-6", "8.1.2", f"sha256 {'00ff' * 16}"):
        assert words in page.text
