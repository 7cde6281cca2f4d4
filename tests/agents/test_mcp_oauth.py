"""A person connects an MCP server that wants OAuth: discovery, registration, PKCE, the callback, renewal of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from asgiref.sync import async_to_sync, sync_to_async

from agents.mcp.models import McpAuthorization, McpServer
from tests.support.api import Answer, Api, Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("mcp_allowed")]
CALLBACK = "/tools/mcp/oauth/callback"


async def events_of(answer: Answer) -> AsyncIterator[dict[str, Any]]:
    response = await answer.response.making()
    async for frame in response.streaming_content:
        if frame.startswith(b"data: "):
            yield orjson.loads(frame[6:])


def brought_back(url: str) -> dict[str, str]:
    """What the authorization page sends the browser back with."""
    location = httpx.get(url, follow_redirects=False, trust_env=False).headers["location"]
    assert urlsplit(location).path == f"/v1{CALLBACK}"
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def connect(api: Api, server_id: str) -> list[dict[str, Any]]:
    return followed_to_its_end(api.get(f"/mcp-servers/connect/{server_id}"))


def followed_to_its_end(answer: Answer) -> list[dict[str, Any]]:
    """All events, the person having said yes."""

    async def followed() -> list[dict[str, Any]]:
        seen = []
        async for event in events_of(answer):
            seen.append(event)
            if event["event"] == "authorization_url":
                await sync_to_async(_say_yes)(event["url"])
        return seen

    return async_to_sync(followed)()


def _say_yes(url: str) -> None:
    brought = brought_back(url)
    assert b"Authorized" in Api(None).get(CALLBACK, **brought).response.content
    assert Api(None).get(CALLBACK, **brought).status == 400  # once


def create(api: Api, url: str, **more: Any) -> str:
    config = {"mcp_server_type": "streamable_http", "server_url": url, **more}
    return str(api.post("/mcp-servers/", {"server_name": "guarded", "config": config}).ok()["id"])


def run(api: Api, server_id: str, name: str) -> Answer:
    tools = {tool["name"]: tool["id"] for tool in api.get(f"/mcp-servers/{server_id}/tools").ok()}
    return api.post(f"/mcp-servers/{server_id}/tools/{tools[name]}/run", {"args": {}})


def test_a_person_authorizes_and_tokens_are_renewed_until_the_server_locks_us_out(tenant: Tenant, mcp_url: str) -> None:
    api = Api(tenant.key)
    server = create(api, f"{mcp_url}/guarded")
    seen = connect(api, server)
    assert [event["event"] for event in seen] == [
        "connection_attempt",
        "oauth_required",
        "authorization_url",
        "waiting_for_auth",
        "success",
    ]
    assert {tool["name"] for tool in seen[-1]["tools"]} == {"hello", "forget", "lock_out"}
    asked = parse_qs(urlsplit(seen[2]["url"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert not McpAuthorization.objects.exists()
    stored = str(McpServer.objects.values().get())
    assert "access-" not in stored
    assert "refresh-" not in stored
    assert run(api, server, "hello").ok()["func_return"] == "hello"
    before = McpServer.objects.values_list("oauth", flat=True).get()
    assert run(api, server, "forget").ok()["func_return"] == "forgotten"
    assert run(api, server, "hello").ok()["func_return"] == "hello"
    assert McpServer.objects.values_list("oauth", flat=True).get() != before
    run(api, server, "lock_out")
    refused = run(api, server, "hello")
    assert refused.status == 502
    assert "connect" in refused.detail
    assert McpServer.objects.get().state == "unauthorized"
    assert connect(api, server)[-1]["event"] == "success"


def test_a_viewer_who_leaves_ends_nothing(tenant: Tenant, mcp_url: str) -> None:
    api = Api(tenant.key)
    server = create(api, f"{mcp_url}/guarded")
    answer = api.get(f"/mcp-servers/connect/{server}")

    async def url() -> str:
        async for event in events_of(answer):
            if event["event"] == "authorization_url":
                return str(event["url"])
        raise AssertionError("no address of a page")

    _say_yes(async_to_sync(url)())

    async def until_ready() -> None:
        async with asyncio.timeout(10):
            while not await McpServer.objects.filter(state="ready").aexists():  # noqa: ASYNC110 - of another thread
                await asyncio.sleep(0.05)

    async_to_sync(until_ready)()
    assert run(api, server, "hello").ok()["func_return"] == "hello"


def test_a_server_that_cannot_be_connected_says_so_as_its_last_event(tenant: Tenant, mcp_url: str) -> None:
    api = Api(tenant.key)
    older = {"server_name": "old", "type": "streamable_http", "server_url": f"{mcp_url}/garbage"}
    seen = followed_to_its_end(api.post("/tools/mcp/servers/connect", older))
    assert [event["event"] for event in seen] == ["connection_attempt", "error"]
    assert seen[-1]["message"]


def test_a_callback_that_nobody_waits_for_is_refused() -> None:
    answer = Api(None).get(CALLBACK, state="made-up", code="<script>")
    assert answer.status == 400
    assert b"<script>" not in answer.response.content
