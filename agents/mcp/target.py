"""Where one call goes: a server's stored configuration with its template variables filled in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from agents.mcp.models import McpServer, ServerType
from core.errors import BadInput, Conflict
from core.secrets import Secret, Undecryptable

MASK = "********"
DEFAULT_HEADER = "Authorization"
_VARIABLE = re.compile(
    r"\{\{\s*(?P<braced>\w+)\s*(?:\|\s*(?P<default>[^{}]*?)\s*)?\}\}|\$\{(?P<dollar>\w+)(?::-(?P<fallback>[^{}]*))?\}"
)

_SECRET = re.compile(r"(?i)key|token|secret|password|auth|credential")
_QUERY = re.compile(r"(?i)([?&][^=&#]*(?:key|token|secret|password|auth|credential)[^=&#]*=)([^&#]*)")


class MissingVariable(BadInput):
    """A template names a variable that nobody gave a value."""


class Unreadable(Conflict):
    """No key of this installation opens what is stored."""


@dataclass(frozen=True)
class Target:
    """`oauth`: JSON of the server's stored tokens and of what belongs to them, where they go along."""

    server_id: str
    kind: str
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    oauth: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """Equal for those that may share a connection."""
        parts = [self.kind, self.url, sorted(self.headers.items()), self.command, self.args, sorted(self.env.items())]
        return f"{self.server_id}:{hashlib.sha256(json.dumps([*parts, self.oauth]).encode()).hexdigest()}"


def revealed(secret: Any) -> str:
    """Of an encrypted column, whose value in Python is a Secret. Raises Unreadable."""
    try:
        return str(secret.reveal())
    except Undecryptable:
        raise Unreadable(
            "What is stored of this MCP server cannot be decrypted: have the operator put the encryption key back, or "
            "delete the server and add it anew."
        ) from None


def sealed(config: Mapping[str, Any]) -> Any:
    """What `McpServer.config` is set to."""
    return Secret(plain=json.dumps(dict(config)))


def config_of(server: McpServer) -> dict[str, Any]:
    """Raises Unreadable."""
    return dict(json.loads(revealed(server.config)))


def target_of(server: McpServer, variables: Mapping[str, str]) -> Target:
    """Raises MissingVariable."""
    config = filled(config_of(server), variables)
    if server.server_type == ServerType.STDIO:
        args, env = tuple(config.get("args") or ()), config.get("env") or {}
        return Target(server.pk, server.server_type, command=config["command"], args=args, env=env)
    headers = dict(config.get("custom_headers") or {})
    token = config.get("auth_token")
    if token:
        headers[config.get("auth_header") or DEFAULT_HEADER] = _credential(config.get("auth_header"), token)
    carries = any(name.lower() == "authorization" for name in headers)
    oauth = "" if carries or server.oauth is None else revealed(server.oauth)
    return Target(server.pk, server.server_type, url=config["server_url"], headers=headers, oauth=oauth)


def _credential(header: str | None, token: str) -> str:
    bare = (header or DEFAULT_HEADER).lower() == "authorization" and " " not in token
    return f"Bearer {token}" if bare else token


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """`{{ NAME }}`, `{{ NAME | default }}`, `${NAME}` and `${NAME:-default}` in any text of it. The environment of this
    server is no source: whoever may enter an address could have it sent there."""
    return _texts(value, lambda text: _VARIABLE.sub(lambda match: _value(match, variables), text))


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name = match["braced"] or match["dollar"]
    default = match["default"] if match["braced"] else match["fallback"]
    if name in variables:
        return variables[name]
    if default is not None:
        return default
    raise MissingVariable(
        f"The MCP server's configuration names the variable {name}, which has no value here: set it as a secret of the "
        f"agent (and name the agent), or write {{{{ {name} | default }}}}."
    )


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _texts(item, change) for name, item in value.items()}
    return value


def shown(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it may be answered. Arguments and queries are masked where their names speak of secrets."""
    found = dict(config)
    if found.get("auth_token"):
        found["auth_token"] = _masked(found["auth_token"])
    for name in ("env", "custom_headers"):
        if found.get(name):
            found[name] = {key: _masked(value) for key, value in found[name].items()}
    if found.get("args"):
        found["args"] = [_shown_argument(one, before) for before, one in pairwise(["", *found["args"]])]
    if found.get("server_url"):
        found["server_url"] = _QUERY.sub(lambda match: match[1] + _masked(match[2]), found["server_url"])
    return found


def unmasked(given: Any, stored: Any, as_shown: Any) -> Any:
    """A value that comes back as it was shown is the one we have."""
    if stored is not None and given == as_shown:
        return stored
    if isinstance(given, dict) and isinstance(stored, dict):
        return {name: unmasked(one, stored.get(name), as_shown.get(name)) for name, one in given.items()}
    if isinstance(given, list) and isinstance(stored, list):
        known = [*zip(stored, as_shown, strict=True), *[(None, None)] * len(given)]
        return [unmasked(one, *known[place]) for place, one in enumerate(given)]
    return given


def _masked(value: str) -> str:
    """A template names its variables, and is no secret; anything else may be."""
    return value if _VARIABLE.fullmatch(value) else MASK


def _shown_argument(argument: str, before: str) -> str:
    name, equals, value = argument.partition("=")
    if equals and _SECRET.search(name):
        return f"{name}={_masked(value)}"
    return _masked(argument) if before.startswith("-") and "=" not in before and _SECRET.search(before) else argument


def address_of(server_type: str, config: Mapping[str, Any]) -> str:
    """What a list may show of it: no path and no query, which may hold a key."""
    if server_type == ServerType.STDIO:
        return str(config["command"])[:255]
    try:
        parts = urlsplit(str(config["server_url"]))
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"[:255]
    except ValueError:
        return ""
