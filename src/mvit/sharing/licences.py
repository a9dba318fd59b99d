"""Under which licence weights may be given on: that of the weights which they started from, however many runs ago."""

import json
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mvit.data.samples import counted
from mvit.weights import hub
from mvit.weights.read import DESCRIPTION_FILE, describe

PULLED_FILE = "pulled.json"
"""In a folder that was pulled: from which repository and commit, under which licence, and what its files digest to."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What weights started from at first."""

    kind: str
    """"scratch", "published", "pulled" or "unknown"."""
    words: str
    """What that is, as the end of a sentence."""
    licence: str | None = None
    """As the hub writes it, such as "apache-2.0"; None where it is not known, or nobody has chosen one yet."""
    repository: str | None = None
    """On the hub, of pulled weights."""


LISTED_AT = "huggingface.co/docs/hub/repositories-licenses"
# fmt: off
LICENCES = (
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
    "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "h-research",
    "intel-research", "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr", "mpl-2.0", "odc-by", "odbl", "openmdw-1.0",
    "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr",
    "deepfloyd-if-license", "fair-noncommercial-research-license", "llama2", "llama3", "llama3.1", "llama3.2",
    "llama3.3", "llama4", "grok2-community", "gemma", "unknown", "other",
)
# fmt: on
"""What stands there; the hub refuses cards with another."""
SCRATCH = Origin(kind="scratch", words="from scratch, with no weights of others")
UNKNOWN = Origin(kind="unknown", words="from a checkpoint of which no licence is recorded")


def identifier(licence: str) -> str:
    """A licence as the hub writes it; raises ``ValueError`` for what is none."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{1,63}", licence):
        raise ValueError(f"{licence!r} is no identifier of a licence: give one as apache-2.0, cc-by-nc-4.0 or other")
    return licence.lower()


def origin_of(run: Path) -> Origin:
    """What the weights of a run folder, or of its file, started from, followed through the runs before it.

    Raises ``ValueError`` for a damaged recipe.toml or pulled.json.
    """
    runs: list[Path] = []
    found: Origin | Path = run
    while isinstance(found, Path):
        folder = (found if found.is_dir() else found.parent).resolve()
        if folder in runs:
            return UNKNOWN
        runs.append(folder)
        found = _started(folder)
    before = len(runs) - 1
    way = f", by way of {counted(before, 'earlier run')}" if before and found.kind != "unknown" else ""
    return replace(found, words=found.words + way)


def settled(origin: Origin, stated: str | None) -> Origin:
    """The same with the licence that its owner states, where none is inherited.

    Raises ``ValueError`` where another one is, where none is known of weights that are not the owner's alone, and for
    one of which the hub knows nothing.
    """
    licence = identifier(stated) if stated else None
    if origin.licence is not None:
        if licence not in (None, origin.licence):
            raise ValueError(
                f"--licence is {licence}, but the model was trained {origin.words}, whose licence is {origin.licence} "
                "and goes on with them: leave --licence out"
            )
        return origin
    if licence is None and origin.kind != "scratch":
        raise ValueError(
            f"the model was trained {origin.words}, so nobody knows whether it may be given on: look it up, and state "
            "it with --licence"
        )
    if licence not in (None, *LICENCES):
        raise ValueError(
            f"--licence is {stated!r}, which is no identifier that the hub knows: give one of {LISTED_AT}, such as "
            "apache-2.0 or cc-by-nc-4.0, or other for what is not among them"
        )
    return replace(origin, licence=licence)


def _started(run: Path) -> Origin | Path:
    """What a run started from: nothing, weights of others, or a path to go on from."""
    recipe = run / "recipe.toml"
    if (pulled := run / PULLED_FILE).is_file():
        return _pulled(pulled)
    if (run / DESCRIPTION_FILE).is_file() and (published := describe(run).get("published")):
        return _of_published(published)
    if not recipe.is_file():
        return UNKNOWN
    try:
        model = tomllib.loads(recipe.read_text(encoding="utf-8"))["model"]
        preset, weights = str(model["name"]), str(model["weights"])
    except (ValueError, LookupError, TypeError) as why:
        raise ValueError(f"{recipe} is damaged ({why!r}): put it back as it was") from why
    if not weights:
        return SCRATCH
    try:
        entry = hub.named(preset, weights)  # before a path of that name, as in training
    except ValueError:  # a file that is gone
        return UNKNOWN
    if entry is not None:
        return _of_published(entry.to_dict() | {"name": f"{entry.preset} {entry.name}"})
    # Earlier versions wrote paths as they were given: from here, a relative one may lead to other weights.
    return path if (path := Path(weights)).is_absolute() and path.exists() else UNKNOWN


def _of_published(entry: dict[str, Any]) -> Origin:
    name = f" {entry['name']}" if "name" in entry else ""
    words = f"from the published weights{name}, trained on {entry['data']} ({entry['source']})"
    return Origin(kind="published", words=words, licence=identifier(entry["licence"]))


def _pulled(file: Path) -> Origin:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        repository, commit, licence = known["repository"], known["commit"], known["licence"]
        licence = None if licence is None else identifier(licence)
    except (ValueError, LookupError, TypeError) as why:
        raise ValueError(f"{file} is damaged ({why!r}): pull the model again") from why
    words = f"from the weights of {repository} on the Hugging Face Hub, commit {commit}"
    return Origin(kind="pulled", words=words, licence=licence, repository=repository)
