"""The websocket as a program uses it against a live server, and what the server does with readers that do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from letta_client import Letta
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.live import Live


@asynccontextmanager
async def socket_of(live: Live, agent_id: str, **more: Any) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{live.port}/ws/agents/{agent_id}"
    more = more or {"additional_headers": {"Authorization": f"Bearer {live.key}"}}
    async with connect(url, **more) as socket:
        yield socket


async def send(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def next_frame(socket: ClientConnection, kind: str = "") -> dict[str, Any]:
    while True:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 20))
        if not kind or frame["type"] == kind:
            return frame


def said(frames: list[dict[str, Any]]) -> str:
    events = [frame["event"] for frame in frames if frame["type"] == "event"]
    return "".join(event["text"] for event in events if event["type"] == "text_delta")


async def test_a_turn_is_followed_token_by_token(live: Live, agent_id: str, slow_tokens: None) -> None:
    async with socket_of(live, agent_id) as socket:
        assert (await next_frame(socket))["type"] == "hello"
        await send(socket, type="send", id="1", input="[[tokens 50]]")
        frames = []
        while not frames or frames[-1]["type"] != "ended":
            frames.append(await next_frame(socket))
    assert len(said(frames).split()) == 50
    assert len([frame for frame in frames if frame["type"] == "event"]) > 8
    assert frames[-1]["status"] == "completed"


async def test_a_cut_socket_goes_on_where_it_was(live: Live, client: Letta, agent_id: str, slow_tokens: None) -> None:
    seen: list[dict[str, Any]] = []
    async with socket_of(live, agent_id) as socket:
        await send(socket, type="send", input="[[tokens 80]]")
        run_id = (await next_frame(socket, "accepted"))["run_id"]
        while len(said(seen).split()) < 20:
            seen.append(await next_frame(socket, "event"))
        socket.transport.abort()
    async with socket_of(live, agent_id, subprotocols=["bearer", live.key]) as socket:
        assert socket.subprotocol == "bearer"
        active = (await next_frame(socket, "hello"))["active_run"]
        assert (active["run_id"], active["status"]) == (run_id, "running")
        assert active["last_seq"] >= seen[-1]["seq"]
        await send(socket, type="follow", run_id=run_id, after=seen[-1]["seq"])
        await next_frame(socket, "accepted")
        while seen[-1]["type"] != "ended":
            seen.append(await next_frame(socket))
    assert [frame["seq"] for frame in seen] == list(range(seen[0]["seq"], seen[0]["seq"] + len(seen)))
    assert len(said(seen).split()) == 80
    assert client.runs.retrieve(run_id).status == "completed"


async def test_a_run_is_cancelled_by_socket(live: Live, client: Letta, agent_id: str, slow_tokens: None) -> None:
    async with socket_of(live, agent_id) as socket:
        await send(socket, type="send", input="[[tokens 500]]")
        run_id = (await next_frame(socket, "accepted"))["run_id"]
        await next_frame(socket, "event")
        await send(socket, type="cancel", id="c")
        ended = await next_frame(socket, "ended")
    assert (ended["run_id"], ended["status"], ended["stop_reason"]) == (run_id, "cancelled", "cancelled")
    assert client.runs.retrieve(run_id).status == "cancelled"


async def test_a_run_begun_by_socket_is_seen_by_the_sdk(live: Live, client: Letta, agent_id: str) -> None:
    async with socket_of(live, agent_id) as socket:
        await send(socket, type="send", input="[[say seen by all]]")
        run_id = (await next_frame(socket, "accepted"))["run_id"]
        await next_frame(socket, "ended")
    frames = await asyncio.to_thread(lambda: list(client.runs.messages.stream(run_id, starting_after=0)))
    assert "".join(f.content for f in frames if f.message_type == "assistant_message") == "seen by all"


async def test_a_wrong_key_is_told_by_the_close_code(live: Live, agent_id: str) -> None:
    async with socket_of(live, agent_id, additional_headers={"Authorization": "Bearer pn_a_b"}) as socket:
        assert (await next_frame(socket))["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4401


async def test_a_reader_that_stops_misses_nothing_when_it_reads_on(live: Live, agent_id: str) -> None:
    """More is sent than the buffers hold: the follower waits, and catches up from the run's stream."""
    async with socket_of(live, agent_id) as socket:
        await send(socket, type="send", input="[[tokens 6000]]")
        run_id = (await next_frame(socket, "accepted"))["run_id"]
        await next_frame(socket, "ended")
        for _ in range(40):
            await send(socket, type="follow", run_id=run_id, after=0)
        await asyncio.sleep(0.5)
        frames: list[dict[str, Any]] = []
        while len([frame for frame in frames if frame["type"] == "accepted"]) < 40 or frames[-1]["type"] != "ended":
            frames.append(await next_frame(socket))
    last = max(index for index, frame in enumerate(frames) if frame["type"] == "accepted")
    again = frames[last + 1 :]
    start = max(index for index, frame in enumerate(again) if frame.get("seq") == 1)
    assert [frame["seq"] for frame in again[start:]] == list(range(1, len(again[start:]) + 1))
    assert len(said(again[start:]).split()) == 6000
