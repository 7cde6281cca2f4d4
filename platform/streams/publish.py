"""The writing side of a run's events: a Redis Stream per run, fenced, numbered, its deltas coalesced.

Entry n of `run:{<id>}` has the id `n-0` and one field `e`, the event as JSON. `run:{<id>}:head` holds the fence, the
last number, the last batch's name and the mark. A writer whose fence is older than the stream's is refused, so that a
worker that lost its lease can add nothing. A batch that comes twice, because the answer to the first was lost, is
written once. While Redis is away the events wait in the writer; the run goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

MAX_EVENTS = 20_000
ENDED = 2**31
_PUBLISH = f"""
local head = redis.call('HMGET', KEYS[2], 'fence', 'seq', 'batch', 'mark')
local seq, mark = tonumber(head[2] or '0'), tonumber(head[4] or '0')
if head[3] == ARGV[3] then return seq end
if tonumber(ARGV[1]) < tonumber(head[1] or '0') then return -1 end
local own = tonumber(ARGV[4])
if mark >= {ENDED} or (own > 0 and own <= mark) then return seq end
for i = 5, #ARGV do
  seq = seq + 1
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', {MAX_EVENTS}, seq .. '-0', 'e', ARGV[i])
end
redis.call('HSET', KEYS[2], 'fence', ARGV[1], 'seq', seq, 'batch', ARGV[3], 'mark', math.max(own, mark))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return seq
"""


def stream_key(run_id: str) -> str:
    return f"run:{{{run_id}}}"


def head_key(run_id: str) -> str:
    return f"run:{{{run_id}}}:head"


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    """It tries twice and no longer: whoever writes events waits in the middle of a model's answer."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=3,
        socket_connect_timeout=2,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),
    )


@lru_cache(maxsize=1)
def _script() -> Callable[..., int]:
    return _client().register_script(_PUBLISH)


class Fenced(Exception):
    """Somebody else writes this run's events now: the writer has lost its lease."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are written together. `name`: unlike any other of the run's.

    `mark`: how far these events tell what is stored: the `seq` of the last message among them, `ENDED` if they end the
    run, 0 if they tell nothing that is stored. What was told up to that mark already is not told again, and nothing is
    told after the end.
    """

    events: list[bytes]
    name: str
    mark: int = 0


def append(run_id: str, fence: int, batch: Batch) -> int:
    """Append events; the number of the last one. Raises Fenced, redis.RedisError."""
    keys = [stream_key(run_id), head_key(run_id)]
    seq = int(_script()(keys=keys, args=[fence, settings.STREAM_TTL_S, batch.name, batch.mark, *batch.events]))
    if seq < 0:
        raise Fenced(run_id)
    return seq


def told(run_id: str) -> int:
    """The mark up to which the run's stored messages were told. Raises redis.RedisError."""
    return int(cast("bytes | None", _client().hget(head_key(run_id), "mark")) or 0)


def kept(run_id: str) -> bool:
    """Whether the run's events are still kept."""
    return bool(_client().exists(stream_key(run_id)))


class Delta(Protocol):
    """A piece that may be joined with the one before it: `join` gives None where it may not."""

    def join(self, later: Delta) -> Delta | None: ...

    def encode(self) -> bytes: ...


class RunWriter:
    """Writes one run's events for as long as one worker holds it.

    `delta` coalesces: pieces go out at most once per `INTERVAL_S`, the first one at once where somebody is known to
    wait for tokens (`eager`). `write` puts whole events out at once, behind whatever deltas waited.
    """

    INTERVAL_S = 0.015
    AGAIN_S = 0.5
    MAX_WAITING = 50_000

    def __init__(self, run_id: str, fence: int, *, eager: bool = True) -> None:
        self.run_id = run_id
        self.fence = fence
        self.fenced = False
        self._lock = threading.Lock()
        self._deltas: list[Delta] = []
        self._waiting: list[bytes] = []
        self._mark = 0
        self._sent: Batch | None = None  # on its way: written or not, its answer did not come
        self._batches = 0
        self._again_at = 0.0
        self._last_flush = 0.0 if eager else time.monotonic()

    def delta(self, piece: Delta) -> None:
        with self._lock:
            joined = self._deltas[-1].join(piece) if self._deltas else None
            if joined is None:
                self._deltas.append(piece)
            else:
                self._deltas[-1] = joined
            if time.monotonic() - self._last_flush >= self.INTERVAL_S:
                self._flush()
            left = self._unwritten
        if left:
            _flusher().expect(self)

    def write(self, *events: bytes, mark: int = 0) -> None:
        with self._lock:
            self._collect(*events)
            self._mark = max(mark, self._mark)
            self._flush()
            left = self._unwritten
        if left:
            _flusher().expect(self)

    def later(self, *events: bytes) -> None:
        """Put events out with whatever comes next, or in `INTERVAL_S` at the latest."""
        with self._lock:
            self._collect(*events)
        _flusher().expect(self)

    def flush_due(self) -> float:
        """Called by the flusher: seconds until this writer wants to be called again, 0 for not at all."""
        with self._lock:
            if not self._unwritten:
                return 0.0
            left = max(self._last_flush + self.INTERVAL_S, self._again_at) - time.monotonic()
            if left > 0:
                return left
            self._flush()
            return self.AGAIN_S if self._unwritten else 0.0

    def close(self, wait_s: float = 5.0) -> None:
        """Put out what waits; while Redis is away, wait for `wait_s` seconds, then leave it to the flusher."""
        deadline = time.monotonic() + wait_s
        while True:
            with self._lock:
                self._again_at = 0.0
                self._flush()
                left = self._unwritten
            if not left:
                return
            if time.monotonic() > deadline:
                log.warning("%s: %d events are not published yet, Redis does not answer", self.run_id, left)
                _flusher().expect(self)
                return
            time.sleep(0.1)

    @property
    def _unwritten(self) -> int:
        if self.fenced:
            return 0
        return len(self._deltas) + len(self._waiting) + (len(self._sent.events) if self._sent else 0)

    def _collect(self, *events: bytes) -> None:
        self._waiting.extend(piece.encode() for piece in self._deltas)
        self._deltas.clear()
        self._waiting.extend(events)

    def _flush(self) -> None:
        if self._deltas:
            self._last_flush = time.monotonic()
            self._collect()
        if self.fenced or self._again_at > time.monotonic():
            return
        while self._sent or self._waiting:
            if self._sent is None:
                self._batches += 1
                self._sent = Batch(self._waiting, f"{self.fence}.{self._batches}", self._mark)
                self._waiting, self._mark = [], 0
            try:
                append(self.run_id, self.fence, self._sent)
            except Fenced:
                self.fenced = True
                self._waiting.clear()
            except redis.RedisError as error:
                self._wait_for_redis(error)
                return
            self._sent = None

    def _wait_for_redis(self, error: redis.RedisError) -> None:
        """Nobody asks again for a while: each attempt may take seconds, and the model's answer goes on meanwhile."""
        log.warning("%s: events wait for Redis: %s", self.run_id, error)
        self._again_at = time.monotonic() + self.AGAIN_S
        del self._waiting[self.MAX_WAITING :]


class _Flusher:
    """One thread of a process that puts out coalesced deltas when no later delta does."""

    def __init__(self) -> None:
        self._expected: set[RunWriter] = set()
        self._wake = threading.Condition()
        threading.Thread(target=self._run, name="stream-flusher", daemon=True).start()

    def expect(self, writer: RunWriter) -> None:
        if writer in self._expected:
            return
        with self._wake:
            self._expected.add(writer)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._expected:
                    self._wake.wait()
            time.sleep(RunWriter.INTERVAL_S)
            with self._wake:
                due, self._expected = self._expected, set()
            for writer in due:
                if writer.flush_due():
                    self.expect(writer)


@lru_cache(maxsize=1)
def _flusher() -> _Flusher:
    return _Flusher()
