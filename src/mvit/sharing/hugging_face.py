"""The Hugging Face Hub: a run pushed as one commit, and pulled as files of known names and sizes, none of them code."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mvit import files
from mvit.deploy import transformers_folder
from mvit.deploy.predictor import load
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.evaluation.probes import PROBE_FILE
from mvit.sharing.card import card
from mvit.sharing.licences import PULLED_FILE, Origin, identifier, origin_of, settled
from mvit.sharing.parcel import CARD_FILE, WITH_NAMES, packed, told
from mvit.weights.hub import CHUNK_BYTES, MOST_BYTES
from mvit.weights.read import DESCRIPTION_FILE, MODEL_FILE, check, stored

EXTRA = "mvit[hub]"
MAIN = "main"
TEXT_BYTES = 64 * 2**20
PULLED: Mapping[str, int] = {
    MODEL_FILE: MOST_BYTES,
    DESCRIPTION_FILE: TEXT_BYTES,
    RESULT_FILE: TEXT_BYTES,
    PROBE_FILE: TEXT_BYTES,
    CARD_FILE: TEXT_BYTES,
}
"""The files that are pulled, and the most bytes that each may have."""
MOST_VALUES = 2**31
"""Numbers in the views of one video: 8.6 GB in float32, many times what any published protocol takes."""


class HubError(OSError):
    """The hub did not do what was asked of it; the sentence says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What is to be sent, and where."""

    repository: str
    branch: str
    private: bool
    endpoint: str
    origin: Origin
    card: str
    contents: Mapping[str, bytes | Path]

    def __str__(self) -> str:
        sizes = {
            name: len(what) if isinstance(what, bytes) else what.stat().st_size for name, what in self.contents.items()
        }
        lines = [f"  {size:>13,} bytes  {name}" for name, size in sizes.items()]
        who = "private" if self.private else "public"
        where = f"{self.endpoint}/{self.repository}, {who}, branch {self.branch}, in one commit"
        licence = self.origin.licence or "none stated: --licence states one"
        return "\n".join([f"to {where}:", *lines, f"licence: {licence} (trained {self.origin.words})"])


def parcel(
    run: Path, repository: str, *, private: bool, branch: str | None, licence: str | None, with_names: bool
) -> Parcel:
    """What of a run is to be sent, and where; nothing is sent.

    Raises ``ValueError`` for a model that is not whole, not ours, or whose licence is not known.
    """
    known = told(run)  # first, so that a run which is not there is told as that
    hub = library()
    repository = _named(repository)
    origin = settled(origin_of(run), licence)
    try:
        text = card(repository, known, origin)
    except (LookupError, TypeError, AttributeError, ValueError) as why:
        raise ValueError(
            f"{run} holds files that no command here wrote ({why!r}): evaluate and probe it again, or take "
            "result.json, probe.json and run.json away"
        ) from why
    return Parcel(
        repository=repository,
        branch=branch or MAIN,
        private=private,
        endpoint=hub.constants.ENDPOINT,
        origin=origin,
        card=text,
        contents=packed(run, known, text, with_names=with_names),
    )


def push(what: Parcel) -> str:
    """Send a parcel in one commit, and give the commit's address; the repository is made where there is none.

    Files of an earlier model that this one has not, such as its probe, are taken away. Raises ``HubError``.
    """
    hub = library()
    if hub.get_token() is None:
        raise HubError("nobody is logged in to the hub here: hf auth login, or a token in the variable HF_TOKEN")
    api = hub.HfApi(library_name="mvit")
    with _told_of(what.repository, what.branch):
        try:
            there = api.model_info(what.repository)
        except hub.errors.RepositoryNotFoundError:
            api.create_repo(what.repository, private=what.private)
        else:
            if what.private and not there.private:
                raise HubError(
                    f"{what.repository} is there already, and public: make it private in its settings, or leave "
                    "--private out"
                )
        if what.branch != MAIN:
            api.create_branch(what.repository, branch=what.branch, exist_ok=True)
        before = {file.rfilename for file in api.model_info(what.repository, revision=what.branch).siblings or ()}
        ours = {*PULLED, *WITH_NAMES, *transformers_folder.FILES}
        commit = api.create_commit(
            what.repository,
            [
                *(hub.CommitOperationAdd(name, content) for name, content in what.contents.items()),
                *(hub.CommitOperationDelete(name) for name in sorted(before & ours - what.contents.keys())),
            ],
            commit_message="Push a model by mvit",
            revision=what.branch,
        )
    return str(commit.commit_url)


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What was pulled, and what was left where it is."""

    commit: str
    licence: str | None
    digests: Mapping[str, str]
    """SHA-256 by file."""
    left: tuple[str, ...]


def pull(repository: str, folder: Path, revision: str | None = None) -> Pulled:
    """Fetch a model into a new folder: safetensors, JSON and the card, at one commit, and no code.

    Each file is what the hub says that it is, by size and digest, and the model is opened before its folder is there.
    Raises ``HubError``, and ``ValueError`` for a repository that holds no model of ours.
    """
    hub = library()
    repository = _named(repository)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already: name another folder with --out")
    api = hub.HfApi(library_name="mvit")
    with _told_of(repository, revision or MAIN):
        info = api.model_info(repository, revision=revision, files_metadata=True)
    there = {file.rfilename: file for file in info.siblings or ()}
    for name in (MODEL_FILE, DESCRIPTION_FILE):
        if name not in there:
            raise ValueError(f"{repository} holds no model that mvit made: it has no {name}")
    chosen = [there[name] for name in PULLED if name in there]
    for file in chosen:
        if file.size is None or file.size > PULLED[file.rfilename]:
            raise ValueError(
                f"{repository} has a {file.rfilename} of {_bytes(file.size)}, and {PULLED[file.rfilename]:,} are the "
                "most that such a file may have: nothing was fetched"
            )
    with files.blaming(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".mvit-pull-", dir=folder.parent) as temporary:
        found, digests = Path(temporary) / "model", {}
        found.mkdir()
        for file in chosen:
            with _told_of(repository, revision or MAIN):
                cached = Path(api.hf_hub_download(repository, file.rfilename, revision=info.sha))
            with files.blaming(folder):
                shutil.copyfile(cached, found / file.rfilename)
            digests[file.rfilename] = _verified(found / file.rfilename, file, cached)
        _require_usable(found, repository)
        licence = _licence_of(info)
        known = {"repository": repository, "commit": info.sha, "licence": licence, "sha256": digests}
        files.write_text(found / PULLED_FILE, json.dumps(known, indent=1) + "\n")
        with files.blaming(folder):
            found.replace(folder)
    left = tuple(sorted(there.keys() - PULLED.keys() - {".gitattributes"}))
    return Pulled(commit=info.sha, licence=licence, digests=digests, left=left)


def library() -> Any:
    """huggingface_hub; raises ``ValueError`` where it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as missing:
        raise ValueError(f"the hub is reached by huggingface_hub ({missing}): pip install '{EXTRA}'") from missing
    return huggingface_hub


def _named(repository: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", repository, re.ASCII):
        raise ValueError(f"{repository!r} is no repository on the hub: name it OWNER/NAME")
    return repository


def _bytes(size: int | None) -> str:
    return "a size that is not told" if size is None else f"{size:,} bytes"


def _verified(path: Path, file: Any, cached: Path) -> str:
    """The SHA-256 of a file that is what the hub says; large ones are known by that, others by git's own digest."""
    sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            sha256.update(chunk)
            git.update(chunk)
    due, is_ = (file.lfs.sha256, sha256.hexdigest()) if file.lfs else (file.blob_id, git.hexdigest())
    if path.stat().st_size != file.size or due != is_:
        raise HubError(
            f"{file.rfilename} is not what the hub says that it holds ({due}): delete {cached}, and pull again"
        )
    return sha256.hexdigest()


def _require_usable(folder: Path, repository: str) -> None:
    """Open a model that strangers may have made, as prediction will; raises ``ValueError`` for what would not do."""
    try:
        config, state = stored(folder)
        check(folder / MODEL_FILE, state, config)
        model = load(folder, device="cpu")
    except ValueError as why:
        raise ValueError(str(why).replace(str(folder), repository)) from why
    clips, crops = model.views
    sampling, crop = model.preprocessing.sampling, model.preprocessing.short_side
    if (values := 3 * clips * crops * sampling.frames * crop * crop) > MOST_VALUES:
        raise ValueError(f"{repository} asks for {values:,} numbers of one video, and {MOST_VALUES:,} are the most")
    if strange := [name for name in model.classes if not isinstance(name, str) or not name.isprintable()]:
        raise ValueError(f"{repository} has a class {strange[0]!r}, which cannot be printed")


def _licence_of(info: Any) -> str | None:
    licence = (info.card_data or {}).get("license")
    try:
        return identifier(licence) if isinstance(licence, str) else None
    except ValueError:
        return None


@contextmanager
def _told_of(repository: str, revision: str) -> Iterator[None]:
    """Have what the hub or the way to it refuses said in one sentence."""
    hub = library()
    errors = hub.errors
    try:
        yield
    except HubError:
        raise
    except errors.GatedRepoError as why:
        raise HubError(f"{repository} is given to those who accept its terms: do so on its page, logged in") from why
    except errors.RevisionNotFoundError as why:
        raise HubError(
            f"{repository} has no revision {revision!r}: leave --revision out, or name another branch, tag or commit"
        ) from why
    except errors.RepositoryNotFoundError as why:
        raise HubError(
            f"there is no {repository} at {hub.constants.ENDPOINT} for whoever asks here: look at how its owner and "
            "name are written, or log in by hf auth login or HF_TOKEN if it is private"
        ) from why
    except errors.HfHubHTTPError as why:
        raise HubError(_answered(repository, why.response.status_code, why.server_message or "")) from why
    except (
        errors.HTTPError,
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        errors.FileMetadataError,
    ) as why:
        cause = why.__cause__ or why
        if (answer := getattr(cause, "response", None)) is not None:
            raise HubError(_answered(repository, answer.status_code)) from why
        reason = str(cause).splitlines()[0]
        raise HubError(f"{hub.constants.ENDPOINT} cannot be reached for {repository} ({reason})") from why
    except RuntimeError as why:  # so is whatever goes wrong while a large file is sent or fetched
        reason = str(why.__cause__ or why).splitlines()[0]
        raise HubError(
            f"sending or fetching a file of {repository} broke off ({reason}): give the command again"
        ) from why
    except ValueError as why:
        raise HubError(f"the hub does not take {repository}: {' '.join(str(why).split())}") from why


_ADVICE = {
    401: ": log in again by hf auth login",
    403: ": take a token that may do so",
    404: ": look at its name and at --revision, and log in by hf auth login if it is private",
}


def _answered(repository: str, status: int, said: str = "") -> str:
    """A refusal of the hub in a sentence, with its own words where they are no page."""
    words = f" ({' '.join(said.split())})" if said and not said.lstrip().startswith("<") else ""
    return f"the hub answered {status} about {repository}{words}{_ADVICE.get(status, '')}"
