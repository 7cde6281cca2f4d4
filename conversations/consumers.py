"""The websocket of a conversation: send, follow, cancel. A socket only looks on; what it started goes on without it.

Everything that leaves goes through one bounded queue. Followers wait for room in it and catch up from the run's stream
later, so a reader that is slow costs no memory; one that stands still for `SLOW_S` is let go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

from accounts.access import Caller
from accounts.models import Scope
from accounts.websocket import SUBPROTOCOL, Credentials, caller_of, credentials_of
from conversations import access, actions, ws_frames
from conversations.actions import Send, Started
from conversations.following import ended_event, follow_run
from conversations.inputs import fingerprint, options_of, otids_key, rows_of
from conversations.models import ACTIVE, TERMINAL, Conversation, Run, RunStatus
from conversations.ws_frames import (
    CLOSE_OF_STATUS,
    Accepted,
    ActiveRun,
    CancelCommand,
    Close,
    FollowCommand,
    Hello,
    PingCommand,
    Pong,
    Resync,
    SendCommand,
    UnreadableFrame,
)
from core.db import release_connection
from core.errors import AppError, Invalid, LimitExceeded, NotFound, PermissionDenied, Unavailable
from core.ids import is_id
from providers.errors import ProviderError
from streams.follow import hub

log = logging.getLogger(__name__)

QUEUE_FRAMES = 512
SLOW_S = 20.0
FAREWELL_S = 2.0
MAX_REASON_BYTES = 120  # of a close frame's 123
RECHECK_S = 30.0
MAX_FOLLOWED = 16
MAX_CONNECTIONS = 100  # of one key or person, on one web process

T = TypeVar("T")

_DELTAS = frozenset({"text_delta", "reasoning_delta", "hidden_reasoning", "tool_call_delta"})
_open: Counter[str] = Counter()


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run what asks the database; its connection is back in the pool afterwards. Raises Unavailable."""

    def work() -> T:
        try:
            return function(*args)
        finally:
            release_connection()

    try:
        return await sync_to_async(work, thread_sensitive=False)()
    except (OperationalError, InterfaceError) as error:
        raise Unavailable("The database does not answer.") from error


async def _newest(run_id: str) -> int:
    """The number of the run's newest event, 0 where none is kept. Raises Unavailable."""
    try:
        return await hub().last_number(run_id)
    except RedisError as error:
        raise Unavailable("The event stream does not answer: Redis is away.") from error


class _Slow(Exception):
    """The client does not read."""


class ConversationConsumer(AsyncWebsocketConsumer):
    """One socket. All of it runs on one event loop; what asks the database runs in threads."""

    channel_layer_alias = ""  # events come from the run's stream, so the layer has nothing to carry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.credentials = Credentials()
        self.caller: Caller | None = None
        self.agent_id = self.conversation_id = ""
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_FRAMES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._counted = ""
        self._closing = False
        self._main: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._main = asyncio.current_task()
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._stop_tasks()
            if self._counted:
                _open[self._counted] -= 1
                self._counted = ""

    def _stop_tasks(self) -> None:
        mine = asyncio.current_task()
        for task in (*self._tasks, *self._followed.values()):
            if task is not mine:
                task.cancel()

    async def connect(self) -> None:
        """Refusals come after the handshake, since a browser sees no reason of one that fails."""
        offered = [name.lower() for name in self.scope.get("subprotocols") or ()]
        await self.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            active = await self._enter()
        except (AppError, ProviderError) as error:
            await self._refuse(error, CLOSE_OF_STATUS.get(error.status, Close.INTERNAL))
            return
        self._spawn(self._write())
        self._spawn(self._recheck())
        hello = Hello(agent_id=self.agent_id, conversation_id=self.conversation_id, active_run=active)
        await self._put(ws_frames.encode(hello))

    async def _enter(self) -> ActiveRun | None:
        self.credentials = credentials_of(self.scope)
        run = await _in_thread(self._admit)
        assert self.caller is not None
        holder = self.caller.actor_id
        if _open[holder] >= MAX_CONNECTIONS:
            raise LimitExceeded(f"This key or person has {MAX_CONNECTIONS} open sockets already: close some.")
        _open[holder] += 1
        self._counted = holder
        if run is None:
            return None
        return ActiveRun(run_id=run.pk, status=cast("Any", run.status), last_seq=await _newest(run.pk))

    def _admit(self) -> Run | None:
        """Find out who calls and what they may see; the run that is active there."""
        ((name, reference),) = self.scope["url_route"]["kwargs"].items()
        if not is_id(name, reference):
            raise Invalid(f"“{reference}” is not an id of the form {name}-<uuid4>.")
        self.caller = self._authorized(reference)
        conversation = access.conversation_ref(self.caller, reference)
        self.agent_id, self.conversation_id = conversation.agent_id, conversation.pk
        live = Run.objects.filter(conversation=conversation, status__in=(*ACTIVE, RunStatus.WAITING_APPROVAL))
        return live.only("id", "status").order_by("waits_turn", "-created_at").first()

    def _authorized(self, reference: str) -> Caller:
        organization_id = access.organization_of(reference) if self.credentials.session_key else ""
        try:
            caller = caller_of(self.credentials, organization_id)
        except PermissionDenied:
            raise NotFound(f"{reference} not found") from None  # to a stranger it is not there
        caller.require(Scope.READ)
        return caller

    async def disconnect(self, code: int) -> None:
        self._closing = True
        self._stop_tasks()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except _Slow:
            await self._end(Close.SLOW, "you read too slowly: connect again and follow from the last number you saw")
        except Exception:
            # Nobody awaits this task: the fault is logged whole, and the client told that it was one.
            log.exception("a websocket's task failed")
            await self._end(Close.INTERNAL, "an unknown error occurred")

    async def _write(self) -> None:
        while True:
            frame = await self._queue.get()
            try:
                async with asyncio.timeout(SLOW_S):
                    await self.send(text_data=frame.decode())
            except TimeoutError:
                raise _Slow from None
            except OSError:  # the client is gone; the farewell is on its way to `disconnect`
                return

    async def _put(self, frame: bytes) -> None:
        try:
            async with asyncio.timeout(SLOW_S):  # wait_for may lose a cancellation that comes as the queue takes it
                await self._queue.put(frame)
        except TimeoutError:
            raise _Slow from None

    async def _recheck(self) -> None:
        """Keys are revoked, people leave, agents are deleted: look again from time to time."""
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                await _in_thread(self._admit)
            except AppError as error:
                if error.status in CLOSE_OF_STATUS:
                    await self._refuse(error, CLOSE_OF_STATUS[error.status])
                    return

    async def _refuse(self, error: AppError | ProviderError, code: Close) -> None:
        with suppress(OSError):  # TimeoutError is one
            frame = ws_frames.encode(ws_frames.error_frame(error, None))
            await asyncio.wait_for(self.send(text_data=frame.decode()), FAREWELL_S)
        await self._end(code, error.message)

    async def _end(self, code: Close, reason: str) -> None:
        """Close, and leave even where the client does not take the farewell."""
        if self._closing:
            return
        self._closing = True
        self._stop_tasks()
        short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        try:
            await asyncio.wait_for(self.close(code=int(code), reason=short), FAREWELL_S)
        except OSError:  # TimeoutError is one; or the client is gone already
            if self._main is not None:
                self._main.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if not self._closing:
            await self._guarded(self._take(text_data))

    async def _take(self, text: str | None) -> None:
        if text is None:
            await self._refuse(Invalid("Frames are texts: send JSON."), Close.BAD_FRAME)
        elif len(text) > ws_frames.MAX_FRAME_BYTES:
            await self._end(Close.TOO_BIG, f"a frame may have {ws_frames.MAX_FRAME_BYTES} bytes")
        else:
            try:
                await self._handle(text)
            except UnreadableFrame as error:
                await self._refuse(Invalid(str(error)), Close.BAD_FRAME)

    async def _handle(self, text: str) -> None:
        frame_id: str | None = None
        try:
            command = ws_frames.read(text)
            frame_id = command.id
            match command:
                case SendCommand():
                    await self._send(command)
                case FollowCommand():
                    await self._follow(command)
                case CancelCommand():
                    await self._cancel(command)
                case PingCommand():
                    await self._put(ws_frames.encode(Pong(id=frame_id)))
        except (AppError, ProviderError) as error:
            given = error.extra.get("id") if isinstance(error, AppError) else None
            await self._put(ws_frames.encode(ws_frames.error_frame(error, frame_id or given)))

    async def _send(self, command: SendCommand) -> None:
        started = await _in_thread(self._start, command)
        run, own = started.run, started.own
        accepted = Accepted(id=command.id, command="send", run_id=run.pk, fresh=started.fresh)
        accepted.own_run_id = own.pk if own else None
        await self._put(ws_frames.encode(accepted))
        if own is None or run.pk not in self._followed:
            await self._start_following(run, 0, command.stream_tokens)
        if own is not None:
            await self._start_following(own, 0, command.stream_tokens)

    def _start(self, command: SendCommand) -> Started:
        body = command.body()
        key = command.idempotency_key
        send = Send(
            rows=rows_of(body),
            options=options_of(body),
            background=True,
            run_type="send_conversation_message",
            idempotency_key=hashlib.sha256(key.encode()).hexdigest() if key else otids_key(body),
            request_hash=fingerprint(body),
            when_busy=body.when_busy,
        )
        return actions.start_run(self._allowed(Scope.WRITE), self._conversation(), send)

    async def _follow(self, command: FollowCommand) -> None:
        run = await _in_thread(self._run, command.run_id, Scope.READ)
        newest = await _newest(run.pk)
        if command.after > newest and (newest or run.status not in TERMINAL):
            raise Invalid(f"after: the run's newest event has the number {newest}.")
        await self._put(ws_frames.encode(Accepted(id=command.id, command="follow", run_id=run.pk)))
        if not newest and run.status in TERMINAL:  # its events are kept no more
            await self._put(ws_frames.encode(Resync(run_id=run.pk, after=command.after)))
            await self._put(ws_frames.event_frame(run.pk, command.after + 1, ended_event(run)))
            return
        await self._start_following(run, command.after, command.stream_tokens)

    async def _start_following(self, run: Run, after: int, tokens: bool) -> None:
        former = self._followed.pop(run.pk, None)
        if former is not None:
            former.cancel()
            await asyncio.wait([former])  # else its last frames would come among the new one's
        if len(self._followed) >= MAX_FOLLOWED:
            raise LimitExceeded(f"A socket follows {MAX_FOLLOWED} runs at most.")
        task = asyncio.create_task(self._guarded(self._pass_on(run.pk, after, tokens)))
        self._followed[run.pk] = task
        task.add_done_callback(lambda done: self._forget(run.pk, done))

    def _forget(self, run_id: str, task: asyncio.Task[None]) -> None:
        if self._followed.get(run_id) is task:
            del self._followed[run_id]

    async def _pass_on(self, run_id: str, after: int, tokens: bool) -> None:
        """Events of a run until its end, each once and in order; a gap is told."""
        try:
            async for seen in follow_run(run_id, after):
                if seen is None:
                    continue
                number, event = seen
                if number > after + 1:
                    await self._put(ws_frames.encode(Resync(run_id=run_id, after=number - 1)))
                after = number
                if tokens or event["type"] not in _DELTAS:
                    await self._put(ws_frames.event_frame(run_id, number, event))
        except AppError as error:
            await self._put(ws_frames.encode(ws_frames.error_frame(error, None)))

    async def _cancel(self, command: CancelCommand) -> None:
        for run_id in await _in_thread(self._cancelled, command.run_id):
            await self._put(ws_frames.encode(Accepted(id=command.id, command="cancel", run_id=run_id)))

    def _cancelled(self, run_id: str | None) -> list[str]:
        if run_id is None:
            self._allowed(Scope.WRITE)
            return list(actions.cancel_conversation(self._conversation()))
        run = self._run(run_id, Scope.WRITE)
        return list(actions.cancel_runs([run]))

    def _allowed(self, scope: Scope) -> Caller:
        assert self.caller is not None
        self.caller.require(scope)
        return self.caller

    def _conversation(self) -> Conversation:
        return access.get_conversation(self._allowed(Scope.READ), self.conversation_id)

    def _run(self, run_id: str, scope: Scope) -> Run:
        run = access.get_run(self._allowed(scope), run_id)
        if run.conversation_id != self.conversation_id:
            raise NotFound(f"Run with ID {run_id} not found")
        return run
