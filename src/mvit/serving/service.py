"""From the bytes of a video to an answer: decoded by a process of its own, computed together with others'."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO

import numpy as np

from mvit import __version__
from mvit.data.resources import available_cores
from mvit.data.sampling import Part
from mvit.data.views import describe
from mvit.deploy.described import Described
from mvit.deploy.segments import Hysteresis, segments
from mvit.deploy.windows import Scored, Windowing
from mvit.evaluation.scoring import NotFiniteError, by_name, checked_logits
from mvit.serving.batching import Batcher, Computed
from mvit.serving.bounds import MOST_WINDOWS, Bounds
from mvit.serving.decoder import Decoder, Decoding
from mvit.serving.metrics import Metrics, Seconds
from mvit.serving.questions import Question
from mvit.serving.refusal import Refusal
from mvit.serving.wire import Facts, Order

Explain = Callable[[np.ndarray, str | None], Any]
"""Of views (1, 3, T, H, W) and a class, or None for the one it takes for: what ``explanation.heat`` gives."""


class Service:
    """A model and all that is at work for it."""

    def __init__(
        self, model: Described, name: str, bounds: Bounds, decoder: Decoder, explain: Explain | None = None
    ) -> None:
        self.model, self.name, self.bounds, self.decoder = model, name, bounds, decoder
        self._explain = explain
        self.metrics, self.batcher = Metrics(), Batcher(model.logits)
        decoders = min(max(available_cores(), 2), 8)
        self._decoders = asyncio.Semaphore(decoders)
        self._streams = asyncio.Semaphore(decoders - 1)  # long videos leave one for all others
        self._places: set[asyncio.Timeout] = set()
        self.stopping = False

    @property
    def queue(self) -> int:
        """Requests that are received, wait or are worked on."""
        return len(self._places)

    @property
    def facts(self) -> dict[str, Any]:
        """What the model is, and what may be asked of it."""
        clip = self.model.preprocessing
        return {
            "name": self.name,
            "classes": list(self.model.classes),
            "protocol": self.model.protocol,
            "views": list(self.model.views),
            "clip": [clip.sampling.frames, clip.crop, clip.crop],
            "explains": self._explain is not None,
            "multi_label": self.model.scoring.multi_label,
            "limits": self.bounds.to_dict(),
            "version": __version__,
        }

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places in the queue; raises ``Refusal`` where there is none, and where ``end`` takes it away."""
        if self.stopping:
            raise Refusal(503, "the server is about to end: send it again later")
        if self.queue >= self.bounds.queue:
            places = "the only place is" if self.bounds.queue == 1 else f"all {self.bounds.queue} places are"
            raise Refusal(503, f"{places} taken: send it again later")
        place = asyncio.timeout(None)
        self._places.add(place)
        try:
            async with place:
                yield
        except TimeoutError:
            if not place.expired():
                raise
            raise Refusal(503, "the server ended before the answer was there: send it again later") from None
        finally:
            self._places.discard(place)

    def end(self) -> None:
        """Take nothing more, and refuse what is there."""
        self.stopping = True
        for place in self._places:
            place.reschedule(0)

    async def predict(self, video: BinaryIO, question: Question) -> dict[str, Any]:
        """The scores of a video, as evaluation has them with as many views."""
        clips, crops = question.views or self.model.views
        with self.metrics.request() as seconds:
            async with self._decoding(video, self._order(clips, crops), seconds) as decoding:
                await decoding.facts()
                scores = await self._scores(decoding, seconds)
        return {
            "scores": self._named(scores, question.top),
            "views": clips * crops,
            "protocol": describe(self.model.preprocessing, clips, crops, self.model.scoring.aggregate),
            "seconds_waited": round(seconds.waiting, 4),
            "seconds_decoding": round(seconds.decoding, 4),
            "seconds_computing": round(seconds.computing, 4),
        }

    async def segments(self, video: BinaryIO, question: Question) -> AsyncIterator[dict[str, Any]]:
        """The scores of each window of a video as soon as they are known, and last its segments."""
        windowing, windows = question.windowing, list[Scored]()
        with self.metrics.request() as seconds:
            async with self._decoding(video, self._order(*self.model.views, windowing), seconds) as decoding:
                facts = await decoding.facts()
                for part in _windows(facts, windowing):
                    scores = await self._scores(decoding, seconds)
                    windows.append(Scored(part, scores))
                    yield {**_seconds(part), "scores": self._named(scores, question.top)}
        several = self.model.scoring.multi_label
        found = sorted(
            segments(windows, self.model.classes, Hysteresis(), multi_label=several), key=lambda s: (s.start, s.end)
        )
        yield {
            "segments": [
                {"start": round(s.start, 3), "end": round(s.end, 3), "label": s.label, "score": s.score} for s in found
            ],
            "duration": round(facts.duration_seconds, 3),
        }

    async def explain(self, video: BinaryIO, question: Question) -> dict[str, Any]:
        """Where in the clip in a video's middle a class's score comes from."""
        if self._explain is None:
            raise Refusal(404, "this model is not one that can be explained: serve the run folder of an MViT")
        explain = self._explain
        if question.target is not None and question.target not in self.model.classes:
            raise Refusal(404, "the model has no class of the name that target gives: /model lists them")
        with self.metrics.request() as seconds:
            async with self._decoding(video, self._order(1, 1), seconds) as decoding:
                facts = await decoding.facts()
                views = np.concatenate([piece async for piece in decoding.views()])
            heat = await _done(self.batcher.alone(lambda: explain(views, question.target)), seconds)
        if not np.isfinite(heat.values).all() or not facts.times:
            raise Refusal(422, "the model's answer to it is no number: it is damaged, or made to do so")
        frames = len(heat.values)
        moments = (np.arange(frames) + 0.5) * len(facts.times) / frames - 0.5  # each token's middle, in frames
        return {
            "label": heat.label,
            "times": np.interp(moments, np.arange(len(facts.times)), facts.times).round(3).tolist(),
            "maps": heat.values.astype(np.float64).round(4).tolist(),
            "kind": heat.kind,
            "crop": [round(share, 5) for share in facts.crop],
        }

    # ---- what these share ------------------------------------------------------------------------------------------

    def _order(self, clips: int, crops: int, windowing: Windowing | None = None) -> Order:
        return Order(
            preprocessing=self.model.preprocessing,
            clips=clips,
            crops=crops,
            windowing=windowing,
            most_windows=MOST_WINDOWS,
            file_bytes=self.bounds.bytes,
            pixels=self.bounds.pixels,
            frames=self.bounds.frames,
            seconds=self.bounds.seconds,
        )

    @contextlib.asynccontextmanager
    async def _decoding(self, video: BinaryIO, order: Order, seconds: Seconds) -> AsyncIterator[Decoding]:
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                if order.windowing:
                    await stack.enter_async_context(self._streams)
                await stack.enter_async_context(self._decoders)
            finally:
                seconds.waiting += time.monotonic() - began
            decoding = await stack.enter_async_context(self.decoder.decoding(video, order))
            try:
                yield decoding
            finally:
                seconds.decoding += decoding.seconds

    async def _scores(self, decoding: Decoding, seconds: Seconds) -> np.ndarray:
        """The scores of the next views."""
        logits = np.concatenate([await _done(self.batcher.logits(views), seconds) async for views in decoding.views()])
        try:
            return self.model.scoring.scores(checked_logits(logits, len(logits)))
        except NotFiniteError:
            raise Refusal(422, "the model's scores of it are no numbers: it is damaged, or made to do so") from None

    def _named(self, scores: np.ndarray, top: int | None) -> dict[str, float]:
        named = by_name(scores, self.model.classes)
        return dict(list(named.items())[:top])


async def _done(job: Awaitable[Computed], seconds: Seconds) -> Any:
    """What comes of a job; whoever leaves before it is computed has waited."""
    began, computing = time.monotonic(), 0.0
    try:
        computed = await job
        computing = computed.seconds
        return computed.value
    finally:
        seconds.waiting += time.monotonic() - began - computing
        seconds.computing += computing


def _windows(facts: Facts, windowing: Windowing) -> list[Part]:
    if facts.duration_seconds <= 0:
        raise Refusal(422, "this cannot be read as a video: it does not say when its frames are shown")
    if windowing.at_most(facts.duration_seconds) > MOST_WINDOWS:
        raise Refusal(422, f"it has more than {MOST_WINDOWS:,} windows: give a longer stride")
    return windowing.over(facts.duration_seconds)


def _seconds(part: Part) -> dict[str, float]:
    assert part.end is not None
    return {"start": round(part.start, 3), "end": round(part.end, 3)}
