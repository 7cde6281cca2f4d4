"""The reading side: any number of followers of any number of runs on two Redis connections per process.

One connection blocks in XREAD over every followed stream, and over a doorbell stream of its own by which a new
follower interrupts it; the other serves replays. A follower that reads too slowly is cut from the live feed and
catches up from the stream itself, so its queue is bounded and nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, cast

import redis.asyncio as aioredis
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streams.publish import head_key, stream_key

log = logging.getLogger(__name__)

Entry = tuple[int, bytes]
QUEUE_SIZE = 2_000
REPLAY_PAGE = 1_000
BLOCK_MS = 5_000
_RING = "redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', 'r', '') redis.call('EXPIRE', KEYS[1], 86400)"


@dataclass(eq=False, slots=True)
class _Follower:
    cursor: int
    queue: asyncio.Queue[Entry] = field(default_factory=lambda: asyncio.Queue(QUEUE_SIZE))
    lagging: bool = False


@dataclass(eq=False, slots=True)
class _Followed:
    cursor: int
    followers: set[_Follower] = field(default_factory=set)


class Hub:
    """The followers of one event loop."""

    def __init__(self) -> None:
        # A connection whose other end vanished must not be waited on for ever.
        self._reader = _connection(BLOCK_MS / 1000 + 10)
        self._control = _connection(10)
        self._doorbell = f"hub:{uuid.uuid4()}"
        self._rung = "0-0"
        self._streams: dict[str, _Followed] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Entry, None]:
        """(number, event JSON) of every event of the run beyond `after`, for ever: the caller stops at the last one.

        Raises redis.RedisError only where the replay cannot be read; a lost live connection heals itself.
        """
        key = stream_key(run_id)
        follower = _Follower(after)
        # A feed that began beyond the stream's end would pass over what comes before that place.
        start = min(after, await self.last_number(run_id)) if after else 0
        followed = self._streams.setdefault(key, _Followed(start))
        followed.followers.add(follower)
        follower.lagging = after < followed.cursor
        try:
            if len(followed.followers) == 1:
                await self._ring()
            while True:
                if follower.lagging:
                    async for entry in self._catch_up(key, follower):
                        yield entry
                entry = await follower.queue.get()
                if entry[0] > follower.cursor:
                    follower.cursor = entry[0]
                    yield entry
        finally:
            self._leave(key, follower)

    async def _catch_up(self, key: str, follower: _Follower) -> AsyncGenerator[Entry, None]:
        """Read from the stream what the queue did not hold, until the live feed is reached again."""
        stalled = 0
        while follower.lagging:
            follower.queue = asyncio.Queue(QUEUE_SIZE)
            rows = await self._control.xrange(key, min=f"({follower.cursor}-0", count=REPLAY_PAGE)
            entries = _entries(rows)
            reached = entries[-1][0] if entries else follower.cursor
            stalled = 0 if entries else stalled + 1  # twice nothing: the stream has expired under the feed
            # Nothing is awaited between this look and the switch: all that is fed from now on comes by the queue.
            if stalled == 2 or (len(entries) < REPLAY_PAGE and reached >= self._streams[key].cursor):
                follower.lagging = False
            for entry in entries:
                follower.cursor = entry[0]
                yield entry

    def _leave(self, key: str, follower: _Follower) -> None:
        followed = self._streams.get(key)
        if followed is None:
            return
        followed.followers.discard(follower)
        if not followed.followers:
            del self._streams[key]

    async def close(self) -> None:
        """End the process's following: for a clean stop."""
        self._streams.clear()
        while self._task is not None and not self._task.done():
            self._task.cancel()  # again, should the Redis client have swallowed it
            await asyncio.wait({self._task}, timeout=0.1)
        await self._reader.aclose()
        await self._control.aclose()

    async def last_number(self, run_id: str) -> int:
        """The number of the run's newest event, 0 where there is none."""
        return int(await cast("Any", self._control.hget(head_key(run_id), "seq")) or 0)

    async def _ring(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="stream-hub")
        else:
            await cast("Any", self._control.eval(_RING, 1, self._doorbell))

    async def _read(self) -> None:
        while self._streams:
            asked = dict(self._streams)
            cursors: dict[Any, Any] = {key: f"{followed.cursor}-0" for key, followed in asked.items()}
            cursors[self._doorbell] = self._rung
            try:
                answer = await self._reader.xread(cursors, count=REPLAY_PAGE, block=BLOCK_MS)
            except (RedisError, OSError) as error:
                log.warning("the followers' Redis connection broke, trying again: %s", error)
                await asyncio.sleep(0.5)
                continue
            for raw_key, rows in answer:
                key = raw_key.decode()
                if key == self._doorbell:
                    self._rung = rows[-1][0].decode()
                elif self._streams.get(key) is asked[key]:  # else all left and others came, who begin elsewhere
                    _feed(asked[key], _entries(rows))


def _connection(timeout_s: float) -> aioredis.Redis:
    return aioredis.Redis.from_url(
        settings.REDIS_URL, single_connection_client=True, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 1)
    )


def _feed(followed: _Followed, entries: list[Entry]) -> None:
    followed.cursor = entries[-1][0]
    for follower in followed.followers:
        if follower.lagging:
            continue
        for entry in entries:
            if follower.queue.full():
                follower.lagging = True
                break
            follower.queue.put_nowait(entry)


def _entries(rows: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    return [(int(entry_id.split(b"-")[0]), fields[b"e"]) for entry_id, fields in rows]


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
