"""The sections of a report about how far a model, and the labels of its videos, can be trusted."""

from collections.abc import Mapping
from typing import Any

from mvit.analysis.markup import Html, join, table, tag
from mvit.analysis.plots import percent
from mvit.analysis.record import RunRecord
from mvit.analysis.reliability import coverage, reliability
from mvit.analysis.sections import DASH, folded, is_of_several, missing_trust
from mvit.analysis.thumbnails import Thumbnails
from mvit.data.samples import counted, counted_units

FEW_UNITS = 10
MOST_SUSPECTS = 60
WITH_PICTURES = 20
ONE_LABEL = "Only where each video is of one class; of several at once, each score stands by itself."


def calibration(record: RunRecord) -> Html:
    """Confidence against the share right, the calibration error, and thresholds for wished precisions."""
    if is_of_several(record):
        return tag("p", ONE_LABEL, class_="missing")
    if record.trust is None:
        return missing_trust("calibration", record)
    trust, figures = record.trust, record.trust["calibration"]
    equal, adaptive = figures["equal_width"], figures["adaptive"]
    panels = [
        reliability("Bins of equal width", equal["bins"]),
        reliability("Bins of as many videos", adaptive["bins"]),
        coverage("The surest answers alone", trust["coverage"], [row["wished"] for row in trust["thresholds"]]),
    ]
    caption = (
        "Confidence is the score of the class that a video is called. First two: were scores chances, dots would "
        f"lie on the dashed line; whiskers are 95 % intervals (Wilson) over the videos of a bin, {trust['videos']:,} "
        "in all. Last: what is right of the answers with the highest confidence, by how many of the videos are "
        f"answered; dashed, the precisions of the table. {trust['protocol']}."
    )
    return join(
        tag("p", _sureness(figures, trust)),
        tag("p", _error(equal, adaptive)),
        tag("figure", tag("div", panels, class_="panels"), tag("figcaption", caption)),
        _thresholds(trust),
    )


def _beware(trust: Mapping[str, Any]) -> str:
    return f"and the model was trained on {trust['learned']:,} of them"


def learned(record: RunRecord) -> Html:
    """That what is judged here was learned from, where it was."""
    trust = record.trust
    if trust is None or not trust.get("learned"):
        return join()
    return tag("p", f"Beware: these are {counted(trust['videos'], 'video')}, {_beware(trust)}.", class_="note")


def _sureness(figures: Mapping[str, Any], trust: Mapping[str, Any]) -> str:
    gap = 100 * figures["overconfidence"]
    low, high = (100 * limit for limit in figures["overconfidence_interval"])
    if gap < 0:
        low, high = -high, -low
    kind = "more" if gap >= 0 else "less"
    said = (
        f"The confidence of its answers is {percent(figures['confidence'])} on average, and "
        f"{percent(figures['right'])} of them are right: it is {abs(gap):.1f} points {kind} sure than right (95 % "
        f"interval {low:z.1f} to {high:z.1f} over {_units(trust)})"
    )
    if low <= 0 <= high:
        said += ", which cannot be told from none"
    return f"{said}. The mean log loss is {trust['log_loss']:.3f}.{_few(trust)}"


def _units(trust: Mapping[str, Any]) -> str:
    return counted_units(trust["units"], trust["groups"])


def _few(trust: Mapping[str, Any]) -> str:
    if trust["units"] == 1 or trust["units"] >= FEW_UNITS:  # of one nothing is said: 0 to 100 %
        return ""
    return f" Intervals over as few as {_units(trust)} are rather too narrow."


def _error(equal: Mapping[str, Any], adaptive: Mapping[str, Any]) -> str:
    def shown(way: Mapping[str, Any]) -> str:
        low, high = way["error_interval"]
        return f"{percent(way['error'])} [{100 * low:.1f}, {100 * high:.1f}]"

    larger = [way["error"] > way["by_chance_most"] for way in (equal, adaptive)]
    verdict = (
        "so these scores are no chances"
        if all(larger)
        else "so the two do not agree whether these scores are chances"
        if any(larger)
        else "so these scores cannot be told from true chances"
    )
    return (
        f"Expected calibration error: {shown(equal)} in bins of equal width, {shown(adaptive)} in bins of as many "
        f"videos. On so many videos, scores that are exactly the chances would show {percent(equal['by_chance'])} and "
        f"{percent(adaptive['by_chance'])}, at most {percent(equal['by_chance_most'])} and "
        f"{percent(adaptive['by_chance_most'])} in 95 of 100 cases: {verdict}."
    )


def _fell_short(row: Mapping[str, Any]) -> bool:
    """Whether less is right than is wished where it was checked, as far as the table shows."""
    checked = (row["checked"] or {}).get("precision")
    return checked is not None and round(100 * checked, 1) < round(100 * row["wished"], 1)


def _thresholds(trust: Mapping[str, Any]) -> Html:
    rows = []
    for row in trust["thresholds"]:
        chosen, checked = row["chosen_on"], row["checked"]
        flattered = f"{percent(chosen['precision'])} of {percent(chosen['coverage'])}" if chosen else DASH
        fair = (DASH, DASH)
        if checked is not None:
            right = DASH
            if checked["precision"] is not None:
                low, high = checked["precision_interval"]
                right = f"{percent(checked['precision'])} [{100 * low:.1f}, {100 * high:.1f}]"
            fair = (right, f"{percent(checked['coverage'])} ({checked['answered']:,})")
        start = DASH if row["threshold"] is None else f"{row['threshold']:.3f}"
        rows.append((percent(row["wished"], 0), start, *fair, flattered))
    columns = {
        "wished": "n",
        "answer from": "n",
        "right, checked [95 %]": "n",
        "answered (videos)": "n",
        "where chosen": "n quiet-text",
    }
    folds = next((row["checked"]["folds"] for row in trust["thresholds"] if row["checked"]), None)
    caption = (
        "From which score on to answer, for answers to be right so often. The score is chosen on all "
        f"{counted(trust['videos'], 'video')}; what is right of what it answers of these, in grey, flatters it. "
    )
    caption += (
        f"Checked: {_units(trust)} dealt into {folds} parts, each judged by the score that the others choose; "
        "expect this elsewhere."
        if folds
        else "There is nothing else to check it on, as all videos are of one group or there is one only."
    )
    if short := [
        percent(row["wished"], 0) for row in trust["thresholds"] if row["threshold"] is not None and _fell_short(row)
    ]:
        caption += (
            f" Where {', '.join(short)} is wished, fewer were right when checked: expect that, and not what is wished."
        )
    if any(row["threshold"] is None for row in trust["thresholds"]):
        caption += f" {DASH}: not even the surest answers are right so often."
    return table(caption, columns, rows)


def label_errors(record: RunRecord, thumbnails: Thumbnails) -> Html:
    """The videos whose label the model contradicts with a confidence that is usual for the other class."""
    if is_of_several(record):
        return tag("p", ONE_LABEL, class_="missing")
    if record.trust is None:
        return missing_trust("look for wrong labels", record)
    trust, found = record.trust, record.trust["label_errors"]
    judged = (
        f"Of the {counted(trust['videos'], 'video')} evaluated here only, "
        + (_beware(trust) if trust.get("learned") else "by scores of a model that has not learned from them")
        + ". It cannot judge the labels that it learned: evaluate models trained on the other folds for those "
        "(mvit split --folds)."
    )
    if not found:
        return tag("p", f"None found. {judged}")
    rows = [
        (
            (
                thumbnails.of(suspect["path"]) if place < WITH_PICTURES else None,
                " ",
                thumbnails.named(suspect["path"]),
            ),
            suspect["label"],
            suspect["suggested"],
            f"{suspect['own_score']:.3f}",
            f"{suspect['score']:.3f}",
        )
        for place, suspect in enumerate(found[:MOST_SUSPECTS])
    ]
    columns = {"video": "path", "label": None, "rather": None, "label's score": "n", "its score": "n"}
    share = percent(len(found) / trust["videos"])
    caption = (
        f"{counted(len(found), 'label')} ({share}) contradicted by a score of another class that is usual for its "
        "videos (confident learning), the least likely first. The sure mistakes of the model stand here too: look "
        f"at the video before you change its label. {judged}"
    )
    if len(found) > MOST_SUSPECTS:
        caption += f" The first {MOST_SUSPECTS} are shown, calibration.json has all."
    return folded(caption, columns, rows, "labels")
