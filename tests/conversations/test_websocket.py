"""The websocket of a conversation: who may connect, what it takes and answers, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from redis import Redis

from accounts.actions import NewKey, create_api_key, revoke_api_key
from accounts.models import ApiKey, Membership, Role, User
from agents.actions import create_agent
from agents.schemas.agents import CreateAgent
from config.routing import websocket
from conversations import consumers, runner
from conversations.models import Conversation, Message, Run
from conversations.ws_frames import Accepted
from streams.follow import hub
from streams.publish import stream_key
from tests.support.api import Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis")]

Headers = list[tuple[bytes, bytes]]
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(autouse=True)
async def _nothing_left_open(db: None) -> AsyncIterator[None]:
    yield
    await hub().close()
    await sync_to_async(connections.close_all)()


@pytest.fixture
def agent_id(tenant: Tenant) -> str:
    body = CreateAgent.model_validate({"name": "A", "model": "scripted/demo", "include_base_tools": False})
    return create_agent(tenant.caller, body).agent.pk


def bearer(key: str) -> Headers:
    return [(b"authorization", f"Bearer {key}".encode())]


class Socket:
    def __init__(self, path: str, headers: Headers | None = None, subprotocols: list[str] | None = None) -> None:
        self.wire = WebsocketCommunicator(websocket, path, headers=headers, subprotocols=subprotocols)

    async def send(self, **frame: Any) -> None:
        await self.wire.send_to(text_data=json.dumps(frame))

    async def next(self, kind: str = "") -> dict[str, Any]:
        """The next frame; with `kind`, the next one of it."""
        while True:
            found = await self.wire.receive_output(5)
            assert found["type"] == "websocket.send", found
            frame: dict[str, Any] = json.loads(found["text"])
            if not kind or frame["type"] == kind:
                return frame

    async def closed(self) -> int:
        """The code it was closed with, whatever frames come before."""
        while True:
            found = await self.wire.receive_output(5)
            if found["type"] == "websocket.close":
                return int(found["code"])


@asynccontextmanager
async def connected(path: str, headers: Headers | None = None, **more: Any) -> AsyncIterator[Socket]:
    socket = Socket(path, headers, **more)
    accepted, subprotocol = await socket.wire.connect(5)
    assert accepted
    assert subprotocol == ("bearer" if more.get("subprotocols") else None)
    try:
        yield socket
    finally:
        await socket.wire.disconnect()


@pytest.fixture
def advance() -> Callable[[str], Any]:
    """Do a worker's work: there is none in these tests."""

    def work(run_id: str) -> None:
        for _ in range(10):
            runner.advance(run_id)

    return sync_to_async(work)


async def test_hello_says_where_one_is(tenant: Tenant, agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        hello = await socket.next()
    conversation = await Conversation.objects.aget(agent_id=agent_id, is_default=True)
    assert hello == {
        "type": "hello",
        "protocol": 1,
        "agent_id": agent_id,
        "conversation_id": conversation.pk,
        "active_run": None,
    }


async def test_a_turn_is_sent_followed_and_ended(tenant: Tenant, agent_id: str, advance: Any) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", id="a", input="[[say hello there]]")
        accepted = await socket.next("accepted")
        assert (accepted["id"], accepted["command"], accepted["fresh"]) == ("a", "send", True)
        await advance(accepted["run_id"])
        frames = []
        while not frames or frames[-1]["type"] != "ended":
            frames.append(await socket.next())
    numbers = [frame["seq"] for frame in frames]
    assert numbers == list(range(1, len(frames) + 1))
    kinds = [frame["event"]["type"] for frame in frames[:-1]]
    assert kinds[:2] == ["run_started", "step_started"]
    assert "text_delta" in kinds
    said = "".join(f["event"]["text"] for f in frames[:-1] if f["event"]["type"] == "text_delta")
    assert said == "hello there"
    assert (frames[-1]["status"], frames[-1]["stop_reason"], frames[-1]["error"]) == ("completed", "end_turn", None)


async def test_whole_messages_come_where_pieces_are_not_asked_for(tenant: Tenant, agent_id: str, advance: Any) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="[[say hello there]]", stream_tokens=False)
        run_id = (await socket.next("accepted"))["run_id"]
        await advance(run_id)
        frames = []
        while not frames or frames[-1]["type"] != "ended":
            frames.append(await socket.next())
    kinds = {frame["event"]["type"] for frame in frames[:-1]}
    assert "text_delta" not in kinds
    assert "message_added" in kinds


async def test_a_run_is_followed_on_from_where_another_socket_was(tenant: Tenant, agent_id: str, advance: Any) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="[[say one two]]")
        run_id = (await socket.next("accepted"))["run_id"]
        await advance(run_id)
        seen = [(await socket.next("event"))["seq"] for _ in range(3)]
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="follow", run_id=run_id, after=seen[-1])
        assert (await socket.next("accepted"))["command"] == "follow"
        frames = []
        while not frames or frames[-1]["type"] != "ended":
            frames.append(await socket.next())
    assert [frame["seq"] for frame in frames] == list(range(4, 4 + len(frames)))


async def test_events_that_are_kept_no_more_are_told(
    tenant: Tenant, agent_id: str, advance: Any, redis: Redis[Any]
) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="[[say one]]")
        run_id = (await socket.next("accepted"))["run_id"]
        await advance(run_id)
        await socket.next("ended")
        redis.xtrim(stream_key(run_id), minid="4-0", approximate=False)
        await socket.send(type="follow", run_id=run_id, after=1)
        assert await socket.next("resync") == {"type": "resync", "run_id": run_id, "after": 3}
        assert (await socket.next())["seq"] == 4
        redis.flushdb()
        await socket.send(type="follow", run_id=run_id, after=1)
        assert (await socket.next("resync"))["after"] == 1
        assert (await socket.next())["status"] == "completed"


async def test_a_cursor_beyond_the_newest_event_is_refused(tenant: Tenant, agent_id: str, advance: Any) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="[[say one]]")
        run_id = (await socket.next("accepted"))["run_id"]
        await advance(run_id)
        await socket.send(type="follow", id="f", run_id=run_id, after=1000)
        error = await socket.next("error")
    assert (error["id"], error["code"], error["retry"]) == ("f", "invalid", False)


async def test_hello_names_the_run_that_is_active_and_a_second_turn_is_refused(tenant: Tenant, agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="hi")
        run_id = (await socket.next("accepted"))["run_id"]
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        hello = await socket.next()
        assert hello["active_run"] == {"run_id": run_id, "status": "queued", "last_seq": 0}
        await socket.send(type="send", id="b", input="again")
        error = await socket.next("error")
    assert (error["id"], error["code"], error["retry"], error["extra"]) == ("b", "conflict", True, {"run_id": run_id})


async def test_the_same_key_is_the_same_run(tenant: Tenant, agent_id: str, advance: Any) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        for fresh in (True, False):
            await socket.send(type="send", id=str(fresh), input="[[say once]]", idempotency_key="k")
            accepted = await socket.next("accepted")
            assert accepted["fresh"] is fresh
            await advance(accepted["run_id"])
    assert await Run.objects.acount() == 1


@pytest.mark.parametrize("named", [True, False])
async def test_a_run_is_cancelled(tenant: Tenant, agent_id: str, named: bool) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="hi")
        run_id = (await socket.next("accepted"))["run_id"]
        await socket.send(type="cancel", id="c", **({"run_id": run_id} if named else {}))
        frames = [await socket.next(), await socket.next()]
        await socket.send(type="cancel", id="d")
        error = await socket.next("error")
    by_kind = {frame["type"]: frame for frame in frames}
    assert by_kind["accepted"] == Accepted(id="c", command="cancel", run_id=run_id).model_dump()
    assert (by_kind["ended"]["run_id"], by_kind["ended"]["status"]) == (run_id, "cancelled")
    assert (error["id"], error["code"]) == ("d", "conflict")


@pytest.fixture
def editor_id(tenant: Tenant) -> str:
    """An agent that edits its memory."""
    body = {"name": "E", "model": "scripted/demo", "memory_blocks": [{"label": "human", "value": "?"}]}
    return create_agent(tenant.caller, CreateAgent.model_validate(body)).agent.pk


async def test_what_is_sent_into_a_running_turn_is_answered_by_it(tenant: Tenant, editor_id: str, advance: Any) -> None:
    turn = '[[tool memory_insert {"label": "human", "new_string": "one"} then say Done]]'
    async with connected(f"/ws/agents/{editor_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input=turn, stream_tokens=False)
        running = (await socket.next("accepted"))["run_id"]
        await sync_to_async(runner.advance)(running)
        await socket.send(type="send", id="s", input="[[say Minded]]", when_busy="steer")
        accepted = await socket.next("accepted")
        assert (accepted["run_id"], accepted["fresh"]) == (running, True)
        await advance(running)
        ended = {}
        while len(ended) < 2:
            frame = await socket.next("ended")
            ended[frame["run_id"]] = frame["stop_reason"]
    assert ended == {running: "end_turn", accepted["own_run_id"]: "folded"}
    said = await Message.objects.filter(run_id=running, role="assistant").alast()
    assert said is not None
    assert said.text == "Minded"


async def test_ping_is_answered(tenant: Tenant, agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="ping", id="p")
        assert await socket.next("pong") == {"type": "pong", "id": "p"}


@pytest.mark.parametrize("text", ["no json", "[]", '{"type": "sing"}', '{"id": "x"}'])
async def test_what_is_no_frame_ends_the_connection(tenant: Tenant, agent_id: str, text: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.wire.send_to(text_data=text)
        assert "frame must be" in (await socket.next("error"))["message"]
        assert await socket.closed() == 4400


async def test_bytes_are_no_frame(tenant: Tenant, agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.wire.send_to(bytes_data=b"\x00")
        assert await socket.closed() == 4400


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"type": "send", "input": "x", "colour": "red"}, "colour"),
        ({"type": "send"}, "input"),
        ({"type": "send", "input": "x", "max_steps": 0}, "max_steps"),
        ({"type": "follow", "run_id": "agent-1"}, "run_id"),
        ({"type": "follow", "run_id": "run-00000000-0000-4000-8000-000000000000", "after": -1}, "after"),
        ({"type": "ping", "more": 1}, "more"),
    ],
)
async def test_a_wrong_field_is_named_and_the_connection_stays(
    tenant: Tenant, agent_id: str, frame: dict[str, Any], field: str
) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(id="w", **frame)
        error = await socket.next("error")
        assert (error["id"], error["code"]) == ("w", "invalid")
        assert field in error["message"]
        await socket.send(type="ping")
        await socket.next("pong")


async def test_a_frame_that_is_too_big_ends_the_connection(
    tenant: Tenant, agent_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.ws_frames, "MAX_FRAME_BYTES", 100)
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.send(type="send", input="x" * 200)
        assert await socket.closed() == 1009


async def test_a_browser_gives_its_key_as_a_subprotocol(tenant: Tenant, agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", subprotocols=["bearer", tenant.key]) as socket:
        assert (await socket.next())["type"] == "hello"


async def test_without_a_key_nobody_comes_in(agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}") as socket:
        assert (await socket.next("error"))["code"] == "unauthenticated"
        assert await socket.closed() == 4401


async def test_a_wrong_key_is_refused(agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", bearer("pn_abc_def")) as socket:
        assert await socket.closed() == 4401


@pytest.mark.parametrize("path", ["/ws/agents/{agent}", "/ws/conversations/{conversation}"])
async def test_another_organizations_conversation_is_not_there(stranger: Tenant, agent_id: str, path: str) -> None:
    conversation = await Conversation.objects.aget(agent_id=agent_id, is_default=True)
    path = path.format(agent=agent_id, conversation=conversation.pk)
    async with connected(path, bearer(stranger.key)) as socket:
        assert (await socket.next("error"))["code"] == "not_found"
        assert await socket.closed() == 4404


async def test_another_organizations_run_is_not_there(
    tenant: Tenant, stranger: Tenant, agent_id: str, advance: Any
) -> None:
    body = CreateAgent.model_validate({"name": "B", "model": "scripted/demo", "include_base_tools": False})
    theirs = (await sync_to_async(lambda: create_agent(stranger.caller, body))()).agent.pk
    async with connected(f"/ws/agents/{theirs}", bearer(stranger.key)) as socket:
        await socket.send(type="send", input="hi")
        run_id = (await socket.next("accepted"))["run_id"]
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        for command in ("follow", "cancel"):
            await socket.send(type=command, run_id=run_id)
            assert (await socket.next("error"))["code"] == "not_found"
    assert (await Run.objects.aget(pk=run_id)).status == "queued"


@pytest.mark.parametrize("reference", ["agent-1", "agents", "conv-00000000-0000-4000-8000-000000000000"])
async def test_a_malformed_id_is_not_found(tenant: Tenant, reference: str) -> None:
    async with connected(f"/ws/agents/{reference}", bearer(tenant.key)) as socket:
        assert await socket.closed() == 4404


async def test_an_unknown_path_is_denied(tenant: Tenant) -> None:
    accepted, _ = await Socket("/ws/elsewhere", bearer(tenant.key)).wire.connect(5)
    assert not accepted


async def test_a_key_that_may_only_read_looks_on_and_sends_nothing(tenant: Tenant, agent_id: str) -> None:
    _, key = await sync_to_async(create_api_key)(
        tenant.organization, tenant.user, NewKey(name="reader", scopes=["read"])
    )
    async with connected(f"/ws/agents/{agent_id}", bearer(key)) as socket:
        assert (await socket.next())["type"] == "hello"
        for frame in ({"type": "send", "input": "hi"}, {"type": "cancel"}):
            await socket.send(**frame)
            assert (await socket.next("error"))["code"] == "permission_denied"
    assert not await Run.objects.aexists()


async def test_a_key_without_scopes_is_forbidden(tenant: Tenant, agent_id: str) -> None:
    _, key = await sync_to_async(create_api_key)(tenant.organization, tenant.user, NewKey(name="none", scopes=[]))
    async with connected(f"/ws/agents/{agent_id}", bearer(key)) as socket:
        assert await socket.closed() == 4403


async def test_a_revoked_key_ends_the_connection(
    tenant: Tenant, agent_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.05)
    async with connected(f"/ws/agents/{agent_id}", bearer(tenant.key)) as socket:
        await socket.next("hello")
        await asyncio.sleep(0.2)
        await socket.send(type="ping")
        await socket.next("pong")
        await sync_to_async(revoke_api_key)(await ApiKey.objects.aget(organization=tenant.organization))
        assert (await socket.next("error"))["code"] == "unauthenticated"
        assert await socket.closed() == 4401


def session_of(user: User) -> str:
    session = SessionStore()
    session.update(
        {SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: BACKEND, HASH_SESSION_KEY: user.get_session_auth_hash()}
    )
    session.save()
    return str(session.session_key)


def logged_in(session_key: str, origin: str) -> Headers:
    cookie = f"{settings.SESSION_COOKIE_NAME}={session_key}"
    return [(b"cookie", cookie.encode()), (b"host", b"site.test"), (b"origin", origin.encode())]


def member(tenant: Tenant, role: str) -> str:
    user = User.objects.create_user(f"{role}@example.test", "correct horse", is_staff=True)
    Membership.objects.create(organization=tenant.organization, user=user, role=role)
    return session_of(user)


async def test_a_member_who_is_logged_in_comes_from_the_sites_own_pages(
    tenant: Tenant, agent_id: str, advance: Any
) -> None:
    session_key = await sync_to_async(member)(tenant, Role.OPERATOR)
    async with connected(f"/ws/agents/{agent_id}", logged_in(session_key, "https://site.test")) as socket:
        assert (await socket.next())["type"] == "hello"
        await socket.send(type="send", input="[[say hi]]")
        await socket.next("accepted")
    for origin in ("https://evil.test", "null", ""):
        async with connected(f"/ws/agents/{agent_id}", logged_in(session_key, origin)) as socket:
            assert await socket.closed() == 4403


async def test_a_viewer_who_is_logged_in_only_looks(tenant: Tenant, agent_id: str) -> None:
    session_key = await sync_to_async(member)(tenant, Role.VIEWER)
    async with connected(f"/ws/agents/{agent_id}", logged_in(session_key, "https://site.test")) as socket:
        await socket.send(type="send", input="hi")
        assert (await socket.next("error"))["code"] == "permission_denied"


async def test_a_log_in_of_another_organization_finds_nothing(tenant: Tenant, stranger: Tenant, agent_id: str) -> None:
    session_key = await sync_to_async(member)(stranger, Role.OWNER)
    async with connected(f"/ws/agents/{agent_id}", logged_in(session_key, "https://site.test")) as socket:
        assert await socket.closed() == 4404


async def test_an_ended_log_in_is_refused(tenant: Tenant, agent_id: str) -> None:
    async with connected(f"/ws/agents/{agent_id}", logged_in("0" * 32, "https://site.test")) as socket:
        assert await socket.closed() == 4401


async def test_a_key_has_so_many_sockets_and_no_more(
    tenant: Tenant, agent_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "MAX_CONNECTIONS", 2)
    path, headers = f"/ws/agents/{agent_id}", bearer(tenant.key)
    async with connected(path, headers) as first:
        await first.next("hello")
        async with connected(path, headers) as second:
            await second.next("hello")
            async with connected(path, headers) as third:
                assert (await third.next("error"))["code"] == "limit_exceeded"
                assert await third.closed() == 4429
    async with connected(path, headers) as again:
        await again.next("hello")


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(250):
        if await ready():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 5 s")


async def test_a_reader_that_stands_still_is_let_go(
    tenant: Tenant, agent_id: str, advance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SLOW_S", 0.2)
    monkeypatch.setattr(consumers, "QUEUE_FRAMES", 3)
    reads = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        """A transport whose buffer is full after two messages; a close still gets through."""
        if len(sent) >= 2 and message["type"] != "websocket.close":
            await reads.wait()
        sent.append(message)

    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    socket = Socket(f"/ws/agents/{agent_id}", bearer(tenant.key))
    serving = asyncio.create_task(websocket(socket.wire.scope, inbox.get, send))
    await inbox.put({"type": "websocket.connect"})
    await inbox.put({"type": "websocket.receive", "text": json.dumps({"type": "send", "input": "[[tokens 50]]"})})
    await until(sync_to_async(Run.objects.exists))
    run = await Run.objects.aget()
    await advance(run.pk)
    await until(lambda: asyncio.sleep(0, sent[-1]["type"] == "websocket.close"))
    assert sent[-1]["code"] == 4408
    await inbox.put({"type": "websocket.disconnect", "code": 4408})
    await asyncio.wait_for(serving, 5)
    await run.arefresh_from_db()
    assert run.status == "completed"
