"""Published weights by name: downloaded once into torch hub's cache, resumed, verified, and never there by half."""

import contextlib
import hashlib
import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch.hub

import mvit
from mvit.files import blaming
from mvit.model.config import MViTConfig
from mvit.model.presets import nearest
from mvit.weights import published
from mvit.weights.published import Published, published_for

SCHEMES = ("https",)
"""Of addresses and of what they redirect to; the tests, which serve from this machine, add http."""
TIMEOUT_SECONDS = 30.0
"""Without a byte; a whole download may take as long as it does."""
MOST_BYTES = 12 * 2**30
"""Larger than any published file: weights and optimiser state of MViTv2-H are 8.3 GB in float32."""
CHUNK_BYTES = 2**20


class DownloadError(OSError):
    """Weights could not be fetched; the sentence says why and where to put the file by hand."""


def named(preset: str | MViTConfig, weights: str | Path) -> Published | None:
    """The published weights that a name means, or none where ``weights`` is a path.

    ``k400`` are those of the preset, ``mvit_b_16_image/in1k`` those of another one. A name wins over a file of that
    name (``./k400`` is the file). Raises ``ValueError`` for what is
    neither: the nearest name is given, and all that the preset has.
    """
    if isinstance(weights, Path):
        return None
    other, _, name = weights.rpartition("/")
    if other and published_for(other):
        preset, weights = other, name
    known = published_for(preset) if isinstance(preset, str) else {}
    for entry in known.values():
        if weights in (entry.name, entry.short_name):
            return entry
    path = Path(weights)
    if path.exists() or path.suffix or path.name != weights:
        return None
    if not isinstance(preset, str):
        raise ValueError(f"there is no file {weights!r}, and only the weights of presets go by name: give a path")
    if not known:
        others = [entry.preset for entry in published.PUBLISHED if weights in (entry.name, entry.short_name)]
        models = f", or another model, as {' and '.join(dict.fromkeys(others))} have {weights}" if others else ""
        raise ValueError(
            f"there is no file {weights!r}, and no weights are published for {preset}: give a path{models}"
        )
    names = list(dict.fromkeys([*(entry.short_name for entry in known.values()), *known]))
    meant = nearest(weights, names)
    rest = "" if meant.startswith("there are") else f" There are {', '.join(names)}"
    raise ValueError(f"there is no file {weights!r}, and {preset} has no weights of that name: {meant}{rest}")


def located(preset: str | MViTConfig, weights: str | Path) -> Path:
    """The file of weights given by name or path, downloaded if need be; raises as ``named`` and ``fetch`` do."""
    entry = named(preset, weights)
    return Path(weights) if entry is None else fetch(entry)


def fetch(entry: Published) -> Path:
    """The file of published weights in the cache; a request is made only if it is not there yet.

    Raises ``DownloadError`` where it cannot be had whole, and for a file in the cache that is not the published one.
    """
    target = cached(entry)
    if not target.is_file():
        return download(entry.url, target, entry.sha256)
    if not _digest(target).startswith(entry.sha256):
        raise DownloadError(f"{target} is not the file that was published (SHA-256 {entry.sha256}...): delete it")
    return target


def class_names(entry: Published) -> tuple[str, ...]:
    """Names of the classes in the order of the model's outputs, from torchvision's own lists.

    Raises ``ValueError`` for a data set that no library here lists: its names come with the data.
    """
    if entry.short_name == "k400":
        from torchvision.models.video import MViT_V2_S_Weights

        return tuple(MViT_V2_S_Weights.KINETICS400_V1.meta["categories"])
    if entry.short_name == "in1k":
        from torchvision.models import ViT_B_16_Weights

        return tuple(ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"])
    raise ValueError(
        f"no library here lists the {entry.data.classes:,} classes of {entry.data.title}: name a file with --classes "
        "that does, one a line in the order of the labels"
    )


def cached(entry: Published) -> Path:
    """Where the file of published weights belongs: ``mvit`` in ``torch.hub.get_dir()``, which TORCH_HOME moves."""
    suffix = Path(urlsplit(entry.url).path).suffix or ".pyth"
    return Path(torch.hub.get_dir()) / "mvit" / f"{entry.preset}-{entry.name}{suffix}"


def download(url: str, target: Path, sha256: str = "") -> Path:
    """Download a file, going on from what an earlier attempt left in ``.part``; it takes its name when it is whole.

    Whole means: as long as the server says and, where digits are given, with a SHA-256 that starts with them. Raises
    ``DownloadError``; a wrong file is not kept, the start of a right one is.
    """
    with blaming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if target.is_file():  # another process has downloaded it meanwhile
            return target
        part = target.with_name(f"{target.name}.part")
        try:
            with blaming(part):
                _complete(part, url, sized=not sha256)
            if not (digest := _digest(part)).startswith(sha256):
                part.unlink()
                raise DownloadError(
                    f"its SHA-256 starts with {digest[:8]} where {sha256} was published; it was deleted"
                )
        except DownloadError as why:
            raise DownloadError(f"{url}: {why}. Run the command again, or put the file at {target}") from why.__cause__
        part.replace(target)
    return target


def _complete(part: Path, url: str, *, sized: bool) -> None:
    """Fetch what is missing of a file; ``sized`` asks for a server that says how much that is."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"mvit/{mvit.__version__}"}
    if (
        have
    ):  # the part bears the date of the file that it is of: if that has changed, the server sends the new one whole
        headers |= {"Range": f"bytes={have}-", "If-Range": formatdate(part.stat().st_mtime, usegmt=True)}
    try:
        answer = _open(Request(url, headers=headers))  # noqa: S310 (_open looks at the scheme)
    except HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise DownloadError(f"the server answered {error.code} {error.reason}") from error
        part.unlink()
        return _complete(part, url, sized=sized)
    with answer:
        resumed = answer.status == http.client.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise DownloadError("the server sent another part than the one that is missing")
        length = answer.headers.get("Content-Length")
        if length is None and sized:
            raise DownloadError("the server does not say how long the file is, so it cannot be told whole from cut off")
        whole = None if length is None else int(length) + (have if resumed else 0)
        print(f"downloading {url} to {part.with_suffix('')}", file=sys.stderr)
        _receive(answer, part, have if resumed else 0, whole)
    return None


def _receive(answer: Any, part: Path, done: int, whole: int | None) -> None:
    """Write an answer's body behind the first ``done`` bytes of a file."""
    _refuse_longer(max(done, whole or 0))
    chunk = _read(answer)
    page = chunk[:64].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if page or answer.headers.get_content_type() == "text/html":
        raise DownloadError("the server sent a web page instead of weights; see what it says in a browser")
    try:
        with part.open("r+b" if done else "wb") as file:
            file.seek(done)
            while chunk:
                file.write(chunk)
                done += len(chunk)
                _refuse_longer(done)
                _show(done, whole)
                chunk = _read(answer)
            file.truncate()
            os.fsync(file.fileno())
    finally:
        with contextlib.suppress(TypeError, ValueError):  # no date, or none that is one: then nothing is resumed
            changed = parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
            os.utime(part, (changed, changed))
    if not done:
        raise DownloadError("the server sent an empty file")
    if whole is not None and done != whole:
        raise DownloadError(f"the connection ended after {done:,} of {whole:,} bytes; the next attempt goes on there")


def _refuse_longer(size: int) -> None:
    if size > MOST_BYTES:
        raise DownloadError(f"the file is larger than {MOST_BYTES:,} bytes, which no published weights are")


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        _refuse_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refuse_scheme(url: str) -> None:
    if urlsplit(url).scheme not in SCHEMES:
        raise DownloadError(f"{url} is not reached by {' or '.join(SCHEMES)}, so nobody vouches for what it gives")


def _open(request: Request) -> Any:
    _refuse_scheme(request.full_url)
    try:
        return build_opener(_Redirects).open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError:
        raise
    except (URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(f"the server cannot be reached ({getattr(error, 'reason', error)})") from error


def _read(answer: Any) -> bytes:
    try:
        return answer.read(CHUNK_BYTES)
    except http.client.IncompleteRead as error:
        return error.partial
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(f"the connection broke ({error}); the next attempt goes on there") from error


def _show(done: int, whole: int | None) -> None:
    """Rewrite the line of progress, where there is a terminal to show it."""
    if sys.stderr.isatty():
        end = "\n" if done == whole else ""
        of = "" if whole is None else f" of {whole / 1e6:,.1f}"
        print(f"\r{done / 1e6:,.1f}{of} MB", end=end, file=sys.stderr, flush=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock on a file's download; the system releases it when a process dies. The empty lock file stays."""
    with target.with_name(f".{target.name}.lock").open("ab") as file:
        try:
            import fcntl
        except ImportError:  # Windows: two processes that download one file there may spoil each other's part
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
