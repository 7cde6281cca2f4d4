"""What the installed SDK can do, by introspection; which route each method calls; whether an answer is what it types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
from letta_client import Letta
from letta_client._models import BaseModel
from letta_client._resource import SyncAPIResource
from pydantic import TypeAdapter, ValidationError

OF_EVERY_METHOD = frozenset({"self", "extra_headers", "extra_query", "extra_body", "timeout"})
NOBODY = "http://sdk.invalid"
# Arguments that the SDK asks for only when it is called.
ASKED_LATER = {"templates.create": {"type": "agent", "agent_id": "ARGUMENT"}}


@cache
def methods() -> tuple[str, ...]:
    """Names as `agents.messages.create`, sorted; `health` among them."""
    with Letta(base_url=NOBODY, api_key="none") as client:
        return tuple(sorted([*_of(client, ""), "health"]))


def find(client: Letta, name: str) -> Callable[..., Any]:
    found: Any = client
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Route:
    verb: str
    path: str  # what stands for an argument is `{}`

    def __str__(self) -> str:
        return f"{self.verb.upper()} {self.path}"


class _Caught(Exception):
    def __init__(self, request: httpx.Request) -> None:
        super().__init__(request.url)
        self.request = request


def _catch(request: httpx.Request) -> httpx.Response:
    raise _Caught(request)


@cache
def route(name: str) -> Route:
    """Where the SDK would send a call, learnt by letting it."""
    http = httpx.Client(transport=httpx.MockTransport(_catch))
    with Letta(base_url=NOBODY, api_key="none", max_retries=0, http_client=http) as client:
        method = find(client, name)
        given = {p.name: _filler(p.name) for p in _required(method)} | ASKED_LATER.get(name, {})
        try:
            method(**given)
        except Exception as error:
            # The SDK wraps what its transport raises.
            caught = error if isinstance(error, _Caught) else error.__cause__
            if not isinstance(caught, _Caught):
                raise
            request = caught.request
    path = re.sub(r"(?<=/)ARGUMENT(?=/|$)", "{}", request.url.path)
    return Route(request.method.lower(), path)


def served(openapi: dict[str, Any]) -> set[Route]:
    """The routes of a server's own description, in the same form."""
    return {
        Route(verb, re.sub(r"\{[^}]*\}", "{}", path).rstrip("/"))
        for path, operations in openapi["paths"].items()
        for verb in operations
    }


def is_served(name: str, openapi: dict[str, Any]) -> bool:
    wanted = route(name)
    return Route(wanted.verb, wanted.path.rstrip("/")) in served(openapi)


def mistyped(value: Any) -> list[str]:
    """What of an answer is not as the SDK types it: missing fields, wrong types, unknown values of enumerations."""
    wrong: list[str] = []
    for model in _models(value):
        try:
            TypeAdapter(type(model)).validate_json(model.to_json(), strict=True)
        except ValidationError as error:
            wrong += [f"{type(model).__name__}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return wrong


def unknown_fields(value: Any) -> set[str]:
    """Fields that the server sends and the SDK has no name for, as `Type.field`."""
    return {found for model in _models(value) for found in _extras(model)}


def _extras(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{type(value).__name__}.{name}" for name in value.model_extra or ())
        for name in value.model_fields_set - set(value.model_extra or ()):
            yield from _extras(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from _extras(item)


def _models(value: Any) -> Iterator[BaseModel]:
    if hasattr(value, "items") and isinstance(getattr(value, "items", None), list):  # a page
        value = value.items
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _models(item)


def _of(resource: Any, prefix: str) -> Iterable[str]:
    for name in dir(type(resource)):
        if name.startswith(("_", "with_")):
            continue
        attribute = inspect.getattr_static(type(resource), name)
        if inspect.isfunction(attribute):
            if isinstance(resource, SyncAPIResource):
                yield prefix + name
        elif isinstance(found := getattr(resource, name, None), SyncAPIResource):
            yield from _of(found, f"{prefix}{name}.")


def _required(method: Callable[..., Any]) -> list[inspect.Parameter]:
    found = inspect.signature(method).parameters.values()
    return [p for p in found if p.name not in OF_EVERY_METHOD and p.default is inspect.Parameter.empty]


def _filler(name: str) -> Any:
    if name == "file":
        return ("x.af", b"{}")
    if name == "config":
        return {"mcp_server_type": "stdio", "command": "x", "args": []}
    if name == "body_requires_approval":
        return True
    return "ARGUMENT"
