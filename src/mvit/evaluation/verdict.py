"""What the figures of a probe of time say and what they do not, in words, and as a table for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from mvit.data.samples import counted, counted_units
from mvit.evaluation.disorders import TITLES
from mvit.evaluation.scoring import Scoring

FEW_UNITS = 10
LITTLE = 5.0
"""Points of a drop up to which a bag of frames explains what there is."""
OF_ORDER = ("reversed", "deranged", "windows", "shuffled")
"""How disorders are called that keep all frames."""


def meaning(content: Mapping[str, Any]) -> str:
    """What the figures say and what they do not, in a few plain sentences."""
    ordered, shuffled, reverse = content["ordered"], content["shuffled"], content["reversed"]
    several = "map" in ordered
    key, name = Scoring(multi_label=several).metric
    low, high = content["drop_intervals"]["shuffled"]
    drop = content["drops"]["shuffled"]
    baseline = max(content["chance"], content.get("majority", 0.0))
    few = content["sampled"]["count"] < FEW_UNITS
    rough = [f"Intervals over no more than {_units(content)} are rough, and rather too narrow."] if few else []
    least, most = ordered[f"{key}_interval"]
    if least <= baseline:
        blind = "giving every video the same scores" if several else "always answering one class"
        how = "is worse than" if most < baseline else "cannot be told from"
        said = [
            f"In its own order the model gets {_percent(ordered[key])}, which {how} {blind} "
            f"({_percent(baseline)}): the other figures say nothing yet."
        ]
        return " ".join([*said, *rough])
    fewer, between = ("fewer", (low, high)) if drop >= 0 else ("more", (-high, -low))
    said = [
        f"Shuffling the frames takes {name} from {_percent(ordered[key])} to {_percent(shuffled[key])}, "
        f"{abs(drop):.1f} points {fewer} (95 % interval {between[0]:z.1f} to {between[1]:z.1f}, {over(content)})."
    ]
    if content.get("control"):
        said.append(
            "The model was trained on shuffled clips: what it has of them is what can be known without order, and what "
            "one that was trained in order has in order, less that, is what order is worth."
        )
    elif low > 0:
        share = drop / 100 / (ordered[key] - content["chance"])
        lost = "most" if share > 0.5 else "part"
        said.append(
            f"The model reads the order of frames: {lost} of what it has over chance goes with it. This is an upper "
            "bound on what order is worth, as a shuffled clip is also unlike anything it was trained on."
        )
        said += _where_it_lies(content, key)
    elif high < 0:
        said.append("It does better without the order, which is strange: look at the data and the labels.")
    else:
        said.append(_not_told(content, high))
    said.append(f"One frame alone gives {_percent(content['single_frame'][key])}.")
    if several:
        said.append(f"Played backwards it gets {_percent(reverse[key])}.")
    elif reverse["called_mirror"] is not None:
        low, high = reverse["called_mirror_interval"]
        said.append(
            f"Played backwards, {_percent(reverse['called_mirror'])} of the {reverse['mirror_videos']:,} videos whose "
            f"class is another one reversed are called that other one (95 % interval {100 * low:.1f} to "
            f"{100 * high:.1f}); forwards, {_percent(reverse['mirror_ordered_top1'])} of them are right."
        )
    else:
        said.append(f"Played backwards it gets {_percent(reverse[key])}; no class is another one reversed.")
    return " ".join([*said, *rough])


def _not_told(content: Mapping[str, Any], high: float) -> str:
    """What may be said where shuffling costs nothing that can be told, at most ``high`` points."""
    drops, limits = content["drops"], content["drop_intervals"]
    told = [name for name in drops if name.startswith(OF_ORDER) and limits[name][0] > 0]
    if told:
        most = max(told, key=lambda name: drops[name])
        low, high = limits[most]
        return (
            f"That cannot be told from nothing, but other orders cost something that can: {content[most]['title']} "
            f"{drops[most]:.1f} points (95 % interval {low:.1f} to {high:.1f}). The model reads the order of frames."
        )
    if high > LITTLE:
        return (
            f"No use of the order of frames can be told from chance here, nor can {high:.1f} points of it be excluded."
        )
    return "No use of the order of frames can be told from chance here: a bag of frames would explain this accuracy."


def _where_it_lies(content: Mapping[str, Any], key: str) -> list[str]:
    """What is left where only neighbours, or only what lies far apart, stand in the wrong order."""
    size = next((size for size in (4, 2) if f"windows_{size}" in content and f"deranged_{size}" in content), None)
    if size is None:
        return []
    near, far = (content[f"{kind}_{size}"][key] for kind in ("deranged", "windows"))
    said = (
        f"Out of order only within windows of {size} frames it keeps {_percent(near)}, with such windows whole but in "
        f"another order {_percent(far)}"
    )
    if (behind := content.get("shuffled_after_stem")) is not None:
        said += f", with frames in order up to the stem and shuffled behind it {_percent(behind[key])}"
    return [said + "."]


def over(content: Mapping[str, Any]) -> str:
    """What figures are over: ``330 videos of 4 groups``, or ``12 videos: 2 groups and 8 videos without one``."""
    videos, sampled = counted(content["videos"], "video"), content["sampled"]
    if sampled["unit"] == "video":
        return videos
    return f"{videos}{' of' if sampled['groups'] == sampled['count'] else ':'} {_units(content)}"


def _units(content: Mapping[str, Any]) -> str:
    return counted_units(content["sampled"]["count"], content["sampled"]["groups"])


def table(content: Mapping[str, Any]) -> str:
    """A line for each disorder: the figure with its interval, what it is below that in order, and how far from it."""
    key, name = Scoring(multi_label="map" in content["ordered"]).metric
    between = f"{'95 % interval':14}"
    lines = [f"{'frames':30}{name:>7}  {between}  {'lost':>7}  {between}  Kendall distance"]
    for disorder in content["disorders"]:
        figures = content[disorder]
        line = f"{figures['title']:30}{_shown(figures[key], figures[f'{key}_interval'], 100)}"
        if disorder != "ordered":
            line += f"  {_shown(content['drops'][disorder], content['drop_intervals'][disorder], 1)}"
            line += f"  {figures['kendall']:16.2f}" if figures["kendall"] is not None else f"  {'-':>16}"
        lines.append(line)
    if (mirrored := content["reversed"].get("called_mirror")) is not None:
        interval = content["reversed"]["called_mirror_interval"]
        of = counted(content["reversed"]["mirror_videos"], "video")
        lines.append(f"{'reversed, called its mirror':30}{_shown(mirrored, interval, 100)}  of {of}")
    lines += [f"not asked: {TITLES[name]}: {reason}" for name, reason in content.get("not_asked", {}).items()]
    return "\n".join(lines)


def _shown(value: float, interval: Sequence[float], scale: float) -> str:
    return f"{scale * value:z7.1f}  [{scale * interval[0]:z5.1f}, {scale * interval[1]:z5.1f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
