"""The model card: what a stranger has to know before they use a model, from the files of its run alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from mvit.data.samples import counted
from mvit.deploy.transformers_folder import TASK
from mvit.sharing.licences import Origin
from mvit.sharing.parcel import Told

MANY_CLASSES = 40
"""More are not listed one by one: result.json has them."""
FEW_VIDEOS = 30
"""Of fewer, a class's figure says little."""
FEW_GROUPS = 30
"""With fewer held out, it matters that an interval counts videos, and not groups."""
TRUST = f"trust_remote_code={True}"
"""What a reader of the card has to set; nothing in this package does."""
PAGE = "https://arxiv.org/abs/2104.11227"


def card(repository: str, known: Told, origin: Origin) -> str:
    """README.md of a repository, with the metadata that the hub reads at its head."""
    sections = [
        _what(repository, known),
        _use(repository, known),
        _data(known, origin),
        _figures(known),
        *([_order(known)] if known.description["config"]["clip"][0] > 1 else []),
        _limits(known),
        _licence(origin),
        _made(known),
    ]
    return f"---\n{metadata(repository, known, origin)}\n---\n\n" + "\n\n".join(sections) + "\n"


def metadata(repository: str, known: Told, origin: Origin) -> str:
    """The head of the card as YAML: licence, task, what it started from, and the result."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-classification" if known.medium == "images" else "video-classification"
    results = None
    if known.result is not None:
        several = "map" in known.result
        key = "map" if several else "top1"
        results = [
            EvalResult(
                task_type=task,
                dataset_type="held-out",
                dataset_name=f"{known.result['videos']:,} held-out {known.medium}",
                metric_type="mean_average_precision" if several else "accuracy",
                metric_name="mAP" if several else "top-1",
                metric_value=round(known.result[key], 4),
                metric_args={
                    "interval_95": [round(bound, 4) for bound in known.result[f"{key}_interval"]],
                    "videos": known.result["videos"],
                    "listed": known.result["listed"],
                    "protocol": known.result["protocol"],
                },
            )
        ]
    data = ModelCardData(
        license=origin.licence,
        library_name="mvit",
        pipeline_tag=task,
        tags=["mvit", task],
        base_model=origin.repository,
        model_name=repository.split("/")[1],
        eval_results=results,
    )
    return data.to_yaml()


def _what(repository: str, known: Told) -> str:
    config, preset = known.description["config"], known.recipe.get("model", {}).get("name")
    frames, height, width = config["clip"]
    clip = (
        f"clips of {frames} frames of {height}x{width} pixels" if frames > 1 else f"images of {height}x{width} pixels"
    )
    name = f"`{preset}`, a Multiscale Vision Transformer" if preset else "A Multiscale Vision Transformer"
    return (
        f"# {repository.split('/')[1]}\n\n{name} ([paper]({PAGE})) that tells {len(known.description['classes'])} "
        f"classes of {known.medium} apart: {known.parameters:,} parameters, {clip}, made by `mvit`."
    )


def _use(repository: str, known: Told) -> str:
    one, file = ("image", "image.jpg") if known.medium == "images" else ("video", "video.mp4")
    also = ", whose task is called so for images too" if one == "image" else ""
    return (
        "## Use\n\n"
        f"```\npip install 'mvit[hub]'\nmvit pull {repository} --out model\nmvit predict model {one.upper()}\n```\n\n"
        f"Or with transformers 5.23 or newer, mvit installed{also}:\n\n"
        "```python\nfrom transformers import pipeline\n\n"
        f'classify = pipeline("{TASK}", model="{repository}", {TRUST})\n'
        f'print(classify("{file}"))\n```\n\n'
        f"Both look at {'an' if one == 'image' else 'a'} {one} as it was evaluated, and give the same scores. The "
        "remote code is a list of names in mvit; `mvit pull` takes no code at all."
    )


def _data(known: Told, origin: Origin) -> str:
    rows = [
        f"| {title} | {count:,} | {f'{groups:,}' if groups else 'not told'} |"
        for part, title in (("train", "learned from"), ("val", "held out"), ("test", "held out for a test"))
        if part in known.parts
        for count, groups in [known.parts[part]]
    ]
    counted = "\n".join([f"| | {known.medium} | groups |", "|---|---|---|", *rows]) + "\n\n" if rows else ""
    unknown = "" if rows else f"How many {known.medium} it learned from is not recorded. "
    return (
        f"## Data\n\n{counted}{unknown}Groups are what belongs together, such as the {known.medium} of one person; "
        f"whole ones are held out. No names of files or people are given. The weights were trained {origin.words}."
    )


def _figures(known: Told) -> str:
    if known.result is None:
        return "## Results\n\nIt was not evaluated."
    lines = [f"## Results\n\n**{known.result['headline']}**, with a 95 % interval."]
    if (top5 := known.result.get("top5")) is not None:
        low, high = known.result["top5_interval"]
        lines.append(f"Top-5: {_share(top5)} [{100 * low:.1f}, {100 * high:.1f}].")
    lines.append(
        "The protocol says how many clips and crops of each were looked at, frames and the spacing between them, "
        "and sizes in pixels; it is stored with the model."
    )
    if len(known.result["per_class"]) > MANY_CLASSES:
        return f"{' '.join(lines)} Classes one by one: `result.json`."
    return f"{' '.join(lines)}\n\n" + "\n".join(_rows(known.result, known.medium))


def _rows(result: Mapping[str, Any], medium: str) -> Iterator[str]:
    several = "map" in result
    yield f"| class | {medium} | {'average precision' if several else 'recall'} |"
    yield "|---|---|---|"
    for name, figures in result["per_class"].items():
        share = figures["average_precision" if several else "recall"]
        interval = figures.get("recall_interval")
        within = f" [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]" if interval and figures["support"] else ""
        yield f"| {_cell(name)} | {figures['support']:,} | {'' if share is None else _share(share) + within} |"


def _order(known: Told) -> str:
    if known.probe is None:
        return "## Does it use the order of frames?\n\nIt was not asked."
    over = f"{known.probe['videos']:,} of {known.probe['listed']:,} {known.medium}"
    return f"## Does it use the order of frames?\n\n{known.probe['meaning']} ({known.probe['protocol']}; {over}.)"


def _limits(known: Told) -> str:
    classes = len(known.description["classes"])
    several = known.description.get("multi_label", False)
    said = [
        f"It knows {classes} classes and nothing else: what shows none of them gets scores all the same."
        if several
        else f"It names one of {classes} classes for whatever it is shown, also where none of them is in it.",
        "Scores are of the protocol above; with other clips, crops or frames they are others.",
        "Nothing is known of how it does on other cameras, places or people than those of its data.",
    ]
    if known.result is not None:
        supports = {name: figures["support"] for name, figures in known.result["per_class"].items()}
        few = sum(count < FEW_VIDEOS for count in supports.values())
        if few:
            said.append(
                f"{few:,} of {classes:,} classes {'was' if few == 1 else 'were'} judged on fewer than {FEW_VIDEOS} "
                f"{known.medium}: the figures of single classes say little, as their intervals show."
            )
        if unreadable := len(known.result["unreadable"]):
            said.append(f"{unreadable:,} held-out {known.medium} could not be read, and are not in the figures.")
    if 0 < (groups := known.parts.get("val", (0, 0))[1]) < FEW_GROUPS:
        said.append(
            f"The held-out {known.medium} are of {counted(groups, 'group')} alone. The interval takes "
            f"each of the {known.medium} for itself, so it is too narrow for what other groups would show."
        )
    if known.parts and not known.parts.get("train", (0, 0))[1]:
        said.append(
            "No groups were named, so people or scenes may be on both sides of the split, and figures too good."
        )
    said.append("It was not made, or judged, to identify people or to decide about them.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in said)


def _licence(origin: Origin) -> str:
    if origin.licence is None:
        return "## Licence\n\nIts owner has stated none: ask them before you use or give on the weights."
    if origin.kind in ("published", "pulled"):
        return (
            f"## Licence\n\n{origin.licence}, inherited: the weights were trained {origin.words}, and its licence "
            "goes on with what is made of them. The data that either was trained on have terms of their own."
        )
    return (
        f"## Licence\n\n{origin.licence}, as the owner of the weights states. They were trained {origin.words}. The "
        "data that they were trained on have terms of their own."
    )


def _made(known: Told) -> str:
    environment = known.run.get("environment", {})
    versions = dict(environment.get("versions", {"mvit": known.description["mvit"]}))
    if environment.get("hardware", {}).get("device") == "cpu":
        versions.pop("cuda", None)  # of torch's build, and not used
    lines = ["## How it was made", ""]
    train = known.recipe.get("train", {})
    if {"epochs", "batch", "seed"} <= train.keys():
        lines.append(f"- {train['epochs']} epochs in batches of {train['batch']}, seed {train['seed']}")
    if begun := known.run.get("begun"):
        lines.append(f"- begun {begun}" + (f", mvit commit {known.run['commit']}" if known.run.get("commit") else ""))
    lines.append("- " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return "\n".join(lines)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
