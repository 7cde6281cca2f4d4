"""What is done to MCP servers: called by the API, the older API and the admin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction

from accounts.access import Caller
from accounts.audit import Deed, note
from agents import access
from agents.mcp import calls, flows, sessions, sync
from agents.mcp.errors import McpUnauthorized
from agents.mcp.flows import Connecting
from agents.mcp.models import McpServer, McpTool, ServerType
from agents.mcp.places import places
from agents.mcp.target import MASK, MissingVariable, address_of, config_of, sealed, shown, target_of, unmasked
from agents.schemas.tools import ToolExecutionResult
from agents.tools.execute import limit_return
from agents.tools.variables import variables_of
from core.db import release_connection
from core.errors import Conflict, Invalid

_HTTP = ("server_url", "auth_header", "auth_token", "custom_headers")
FIELDS: Mapping[str, tuple[str, ...]] = {
    ServerType.STDIO: ("command", "args", "env"),
    ServerType.SSE: _HTTP,
    ServerType.STREAMABLE_HTTP: _HTTP,
}


@dataclass(frozen=True, slots=True)
class Changed:
    """What an update sent: only these fields change."""

    name: str | None
    server_type: str
    config: Mapping[str, Any]


def create_server(caller: Caller, name: str, server_type: str, config: Mapping[str, Any]) -> McpServer:
    """Kept only where it answers, or where it waits for an authorization or for an agent's variables.

    Raises Conflict (the name), Invalid, PermissionDenied (a command), McpFailure.
    """
    calls.check_allowed(server_type)
    config = checked(server_type, config)
    with places.place(caller.organization_id):
        server = _insert(caller, name, server_type, config)
        try:
            calls.refresh(server, {})
        except (McpUnauthorized, MissingVariable):
            pass  # it is said in its row, and mended by a later step
        except BaseException:
            server.delete()
            raise
    _note(caller, "mcp_server.create", server)
    return server


def put_server(caller: Caller, name: str, server_type: str, config: Mapping[str, Any]) -> McpServer:
    """Like `create_server`; one that has the name already is changed. Raises Invalid where it is of another type."""
    known = access.mcp_servers_of(caller).filter(name=name).first()
    if known is None:
        return create_server(caller, name, server_type, config)
    return update_server(caller, known.pk, Changed(None, server_type, config))


@transaction.atomic
def update_server(caller: Caller, server_id: str, sent: Changed) -> McpServer:
    """What was sent takes the place of what was there; a masked secret stays. Its tools are asked for by a refresh.

    Raises NotFound, Conflict, Invalid.
    """
    server = access.get_mcp_server(caller, server_id)
    _change(server, sent)
    server.name = sent.name or server.name
    server.last_updated_by_id = caller.user_id
    try:
        with transaction.atomic():
            server.save()
    except IntegrityError:
        raise _taken(server.name) from None
    _note(caller, "mcp_server.update", server)
    transaction.on_commit(lambda: sessions.forget(server_id))
    return server


def _change(server: McpServer, sent: Changed) -> None:
    """In memory. Raises Invalid."""
    if sent.server_type != server.server_type:
        raise Invalid(f"mcp_server_type: this server is {server.server_type}; make a new one for {sent.server_type}.")
    stored = config_of(server)
    changed = checked(server.server_type, {**stored, **unmasked(dict(sent.config), stored, shown(stored))})
    if changed.get("server_url") != stored.get("server_url"):
        server.oauth = None  # tokens are for the address that they were given for
    server.config = sealed(changed)
    server.address = address_of(server.server_type, changed)


@transaction.atomic
def delete_server(caller: Caller, server_id: str) -> None:
    """With its tools, which every agent loses."""
    server = access.get_mcp_server(caller, server_id)
    sync.delete_tools(server)
    _note(caller, "mcp_server.delete", server)
    server.delete()
    transaction.on_commit(lambda: sessions.forget(server_id))


def refresh_server(caller: Caller, server_id: str, agent_id: str | None = None) -> sync.Changes:
    """Ask it for its tools, with the variables of an agent where one is named. Raises NotFound, McpFailure."""
    server = access.get_mcp_server(caller, server_id)
    variables = _variables(caller, agent_id)
    with places.place(caller.organization_id):
        changes = calls.refresh(server, variables)
    counts = {"added": len(changes.added), "updated": len(changes.updated), "deleted": len(changes.deleted)}
    note(caller.organization_id, caller.actor_id, Deed(action="mcp_server.refresh", target=server_id, after=counts))
    return changes


def connecting(caller: Caller, server: McpServer, redirect_uri: str, agent_id: str | None = None) -> Connecting:
    """What `flows.frames` needs to connect it. Raises PermissionDenied, MissingVariable."""
    calls.check_allowed(server.server_type)
    _note(caller, "mcp_server.connect", server)
    return Connecting(target_of(server, _variables(caller, agent_id)), server.name, redirect_uri)


def authorize(caller: Caller, server: McpServer, redirect_uri: str) -> flows.Event:
    """Connect it as far as it goes without a person: the page that has to be opened, or how it ended. The connecting
    goes on. Raises PermissionDenied, MissingVariable, LimitExceeded."""
    flow = connecting(caller, server, redirect_uri)
    release_connection()
    with places.place(caller.organization_id):
        return flows.first_word(flow)


def server_to_connect(caller: Caller, name: str, server_type: str, config: Mapping[str, Any]) -> McpServer:
    """The one of this name, made where there is none: it is not asked for anything yet."""
    calls.check_allowed(server_type)
    known = access.mcp_servers_of(caller).filter(name=name).first()
    return known or _insert(caller, name, server_type, checked(server_type, config))


def try_server(caller: Caller, server_type: str, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a server that is not kept, as it sends them, each with its health. Raises McpFailure, Invalid."""
    secret = sealed(checked(server_type, config))
    return _tried(McpServer(organization_id=caller.organization_id, server_type=server_type, config=secret))


def try_change(caller: Caller, server_id: str, sent: Changed) -> list[dict[str, Any]]:
    """Like `try_server`, for what a change would make of one, which stays as it is. Raises NotFound, McpFailure,
    Invalid."""
    server = access.get_mcp_server(caller, server_id)
    _change(server, sent)
    return _tried(server)


def _tried(server: McpServer) -> list[dict[str, Any]]:
    calls.check_allowed(server.server_type)
    target = target_of(server, {})
    release_connection()
    with places.place(server.organization_id):
        found = sessions.list_tools(target)
    return [{**sent, "health": sync.health_of(sent)} for sent in found]


def usable(row: McpTool) -> McpTool:
    """Raises BadInput for one whose schema is invalid."""
    calls.check_schema(row)
    return row


def run_tool(caller: Caller, row: McpTool, args: Mapping[str, Any]) -> ToolExecutionResult:
    """For a caller who waits; a failure of the tool is a result. Raises McpFailure, BadInput."""
    with places.place(caller.organization_id):
        returned = calls.call(row, args, {})
    text = limit_return(returned.text, row.tool.return_char_limit)
    if returned.failed:
        return ToolExecutionResult(status="error", func_return=text, stderr=[text])
    return ToolExecutionResult(status="success", func_return=text)


def checked(server_type: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of its type, without what is empty. Raises Invalid."""
    found = {name: config[name] for name in FIELDS[server_type] if config.get(name)}
    for name, value in found.items():
        if MASK in str(value):
            raise Invalid(f"{name}: {MASK} stands for a secret that is not shown. Enter the secret itself.")
    if server_type == ServerType.STDIO:
        if not str(found.get("command") or "").strip():
            raise Invalid("command: name the program to run.")
        return found
    for name, value in (found.get("custom_headers") or {}).items():
        if not _fits_header(name) or not _fits_header(value):
            raise Invalid("custom_headers: a header's name and value are ASCII, without line breaks.")
    if not _fits_header(found.get("auth_token") or "") or not _fits_header(found.get("auth_header") or ""):
        raise Invalid("auth_token: ASCII without line breaks.")
    _check_url(str(found.get("server_url") or ""))
    return found


def _check_url(url: str) -> None:
    """Without the URL in the message: it may hold a key."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(char.isspace() for char in url.replace("{{ ", "").replace(" }}", "")):
        raise Invalid("server_url: enter an address like https://example.com/mcp.")
    if parts.username or parts.password:
        raise Invalid("server_url: leave the user and password out of it, and send them as a header.")


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _insert(caller: Caller, name: str, server_type: str, config: Mapping[str, Any]) -> McpServer:
    try:
        with transaction.atomic():
            return McpServer.objects.create(
                organization_id=caller.organization_id,
                created_by_id=caller.user_id,
                last_updated_by_id=caller.user_id,
                name=name,
                server_type=server_type,
                config=sealed(config),
                address=address_of(server_type, config),
            )
    except IntegrityError:
        raise _taken(name) from None


def _variables(caller: Caller, agent_id: str | None) -> Mapping[str, str]:
    if agent_id is None:
        return {}
    access.check_agent(caller, agent_id)
    return variables_of(agent_id)


def _note(caller: Caller, action: str, server: McpServer) -> None:
    after = {"name": server.name, "type": server.server_type, "address": server.address}
    note(caller.organization_id, caller.actor_id, Deed(action=action, target=server.pk, after=after))


def _taken(name: str) -> Conflict:
    return Conflict(f"There is an MCP server named '{name}' already: choose another name, or update that one.")
