"""What the API's own description says of failures: which statuses any route may answer with, and their bodies."""

from __future__ import annotations

from typing import Any

FAILURES = {
    400: "What was asked for cannot be done as it was asked; the detail says what would be.",
    401: "No key was sent, or it is unknown or revoked.",
    403: "This key may not do it.",
    404: "There is no such row in the key's organization.",
    405: "This cannot be done to a row of this kind.",
    409: "It conflicts with what is there: a running turn, a pending approval, a name that is taken.",
    422: "A field is wrong; the detail names it and says why.",
    429: "A budget, a limit or the vendor's own limit is reached; Retry-After says when to try again.",
    503: "A part that is needed does not answer.",
}
# Of what calls models, other servers or the sandbox, or takes something large.
OF_POSTS = {
    402: "The vendor says that the account has no credit left.",
    408: "Another server did not answer in time.",
    413: "The body is too large.",
    501: "This machine lacks a part that is needed.",
    502: "Another server answered with an error.",
    504: "The model did not answer in time.",
}
STREAMING = ("/messages", "/stream")  # how the paths end that can answer with events
OF_STREAMS = {410: "The events of this run are kept no longer."}

FAILURE = {
    "title": "Failure",
    "type": "object",
    "properties": {
        "detail": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "error": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("type", "message", "detail")},
            "required": ["type", "message"],
        },
        "trace_id": {"type": "string"},
        "examples": {"type": "array", "items": {"type": "string"}},
    },
    "anyOf": [{"required": ["detail"]}, {"required": ["error"]}],
}

# One of a stream; `data` is a message as JSON, or `[DONE]`.
EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}


def complete(document: dict[str, Any]) -> None:
    """To each operation the failures that it may answer with, and to those that can stream that they can; what an
    operation says itself stays."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Failure"] = FAILURE
    components["responses"] = {
        _name(status): _described(said) for status, said in {**FAILURES, **OF_POSTS, **OF_STREAMS}.items()
    }
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            found = {**FAILURES, **(OF_POSTS if verb != "get" else {})}
            if verb == "post" and path.endswith(STREAMING):
                found |= OF_STREAMS
                answer = operation["responses"][200]
                answer.setdefault("content", {})["text/event-stream"] = {"schema": EVENT}
            for status in sorted(found):
                operation["responses"].setdefault(status, {"$ref": f"#/components/responses/{_name(status)}"})


def _name(status: int) -> str:
    return f"Failure{status}"


def _described(said: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Failure"}
    return {"description": said, "content": {"application/json": {"schema": schema}}}
