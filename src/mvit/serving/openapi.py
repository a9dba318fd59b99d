"""The interface in the words of OpenAPI 3.1, for programs that write clients, and for those that try servers out."""

from typing import Any

from mvit.serving.bounds import BYTES_A_SECOND
from mvit.serving.questions import SECONDS, TOP, VIEWS

_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_SCORES = {"type": "object", "additionalProperties": _SHARE, "description": "by class, the highest first"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_ERROR = _object(error={"type": "string", "description": "one sentence for people"})
_REFUSALS = {
    "400": "the question or the body is none",
    "404": "there is no such thing here",
    "408": f"the body came more slowly than {BYTES_A_SECOND:,} bytes a second",
    "413": "the body is larger than is allowed",
    "415": "the body is not said to be a video or image, or its format or codec is not among those allowed",
    "422": "it cannot be read as a video or image within the limits",
    "503": "all places are taken, or the server is about to end: ask again after the seconds of retry-after",
}


def _answer(description: str, schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}}


def _parameter(name: str, pattern: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string", "pattern": pattern},
        "description": description,
    }


_TOP = _parameter("top", TOP, "how many classes to name; all if left out")


def _asked(summary: str, parameters: list[dict[str, Any]], answer: dict[str, Any], size: int) -> dict[str, Any]:
    body = {"schema": {"type": "string", "format": "binary", "maxLength": size}}
    return {
        "post": {
            "summary": summary,
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "description": "the bytes of one video or image",
                "content": dict.fromkeys(("application/octet-stream", "video/*", "image/*"), body),
            },
            "responses": {"200": answer} | {status: _answer(words, _ERROR) for status, words in _REFUSALS.items()},
        }
    }


def _got(summary: str, *answers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": dict(answers)}}


def description(facts: dict[str, Any]) -> dict[str, Any]:
    """The whole interface of a server with a model of such facts (``Service.facts``)."""
    health = _object(status={"enum": ["ok", "stopping"]}, queue=_COUNT, capacity=_COUNT)
    limits = _object(bytes=_COUNT, seconds=_NUMBER, pixels=_COUNT, frames=_COUNT)
    model = _object(
        name=_TEXT,
        classes=_list(_TEXT),
        protocol=_TEXT,
        views={"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2, "description": "clips and crops"},
        clip={"type": "array", "items": _COUNT, "minItems": 3, "maxItems": 3},
        explains={"type": "boolean"},
        multi_label={"type": "boolean"},
        limits=limits,
        version=_TEXT,
    )
    prediction = _object(
        scores=_SCORES,
        views=_COUNT,
        protocol=_TEXT,
        seconds_waited=_NUMBER,
        seconds_decoding=_NUMBER,
        seconds_computing=_NUMBER,
    )
    explanation = _object(
        label=_TEXT,
        times={"type": "array", "items": _NUMBER, "description": "seconds of each map"},
        maps=_list(_list(_list(_SHARE))),
        kind=_TEXT,
        crop={
            "type": "array",
            "items": _NUMBER,
            "minItems": 4,
            "maxItems": 4,
            "description": "left, top, right and bottom of what the maps cover, as shares of the upright picture",
        },
    )
    line = (
        "a line for each window: start, end (seconds) and scores; last a line with segments (start, end, label, score) "
        "and duration, or one with error and the status that it would have had at the beginning"
    )
    size = facts["limits"]["bytes"]
    explain = _asked(
        "Say where in the clip in a video's middle the score of a class comes from.",
        [
            {
                "name": "target",
                "in": "query",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 1000},
                "description": "the class; the one that this clip alone is taken for if left out",
            }
        ],
        _answer("the maps", explanation),
        size,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mvit serve",
            "version": facts["version"],
            "description": f"What {facts['name']} sees in videos and images.",
        },
        "paths": {
            "/predict": _asked(
                "Name what a video or image shows.",
                [_parameter("views", VIEWS, "clips x crops; the model's own if left out"), _TOP],
                _answer("the scores", prediction),
                size,
            ),
            "/segments": _asked(
                "Name what a video shows from when to when, window by window.",
                [
                    _parameter("window", SECONDS, "seconds that are looked at as one; 2s if left out"),
                    _parameter("stride", SECONDS, "seconds from one window to the next; 0.5s if left out"),
                    _TOP,
                ],
                _answer(line, _TEXT, "application/x-ndjson"),
                size,
            ),
            **({"/explain": explain} if facts["explains"] else {}),
            "/model": _got("What the model is.", ("200", _answer("its facts", model))),
            "/health": _got(
                "Whether the server is there.",
                ("200", _answer("it is", health)),
                ("503", _answer("it is about to end", health)),
            ),
            "/metrics": _got("Counts for Prometheus.", ("200", _answer("its text format", _TEXT, "text/plain"))),
            "/openapi.json": _got("This description.", ("200", _answer("this", {"type": "object"}))),
            "/": _got("A page for people.", ("200", _answer("HTML", _TEXT, "text/html"))),
        },
    }
