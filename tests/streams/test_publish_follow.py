"""A run's events on their way through Redis: joined, numbered, fenced, and followed without gap or repetition."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from redis.exceptions import RedisError

from stack.redis_part import Redis as RedisPart
from streams import follow as following
from streams import publish as publishing
from streams.follow import Hub
from streams.publish import ENDED, Batch, Fenced, RunWriter, append, head_key, stream_key, told

RUN = "run-00000000-0000-4000-8000-000000000001"
OTHER = "run-00000000-0000-4000-8000-000000000002"
Client = Any


class Piece:
    def __init__(self, text: str) -> None:
        self.text = text

    def join(self, later: Any) -> Any:
        if later.text.startswith("|"):
            return None
        self.text += later.text
        return self

    def encode(self) -> bytes:
        return self.text.encode()


def stored(client: Client, run_id: str = RUN) -> list[bytes]:
    return [fields[b"e"] for _, fields in client.xrange(stream_key(run_id))]


def until(client: Client, count: int) -> list[bytes]:
    deadline = time.monotonic() + 5
    while len(found := stored(client)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)
    return found


def put(*events: str, run_id: str = RUN, fence: int = 1) -> int:
    name = f"{fence}.{random.getrandbits(64)}"
    return append(run_id, fence, Batch([event.encode() for event in events], name))


# The writing side


def test_events_are_numbered_from_one_and_expire(redis: Client, settings: Any) -> None:
    assert put("a", "b") == 2
    assert put("c") == 3
    assert [entry_id for entry_id, _ in redis.xrange(stream_key(RUN))] == [b"1-0", b"2-0", b"3-0"]
    for key in (stream_key(RUN), head_key(RUN)):
        assert 0 < redis.ttl(key) <= settings.STREAM_TTL_S


def test_a_writer_with_an_older_fence_is_refused(redis: Client) -> None:
    put("a", fence=2)
    with pytest.raises(Fenced):
        put("late", fence=1)
    put("b", fence=2)
    put("c", fence=3)
    assert stored(redis) == [b"a", b"b", b"c"]


def test_a_batch_whose_answer_was_lost_is_written_once(redis: Client) -> None:
    batch = Batch([b"a", b"b"], "1.1")
    assert append(RUN, 1, batch) == append(RUN, 1, batch) == 2
    assert stored(redis) == [b"a", b"b"]


def test_what_was_told_is_not_told_again(redis: Client) -> None:
    append(RUN, 1, Batch([b"to 4"], "1.1", mark=4))
    append(RUN, 2, Batch([b"to 3"], "2.1", mark=3))
    append(RUN, 2, Batch([b"unmarked"], "2.2"))
    assert told(RUN) == 4
    append(RUN, 2, Batch([b"end"], "2.3", mark=ENDED))
    append(RUN, 3, Batch([b"end again"], "3.1", mark=ENDED))
    append(RUN, 3, Batch([b"after the end"], "3.2"))
    assert stored(redis) == [b"to 4", b"unmarked", b"end"]
    assert told(OTHER) == 0


def test_the_first_piece_goes_out_at_once_and_the_next_ones_together(redis: Client) -> None:
    writer = RunWriter(RUN, 1)
    writer.delta(Piece("a"))
    assert stored(redis) == [b"a"]
    for text in ("b", "c", "|d", "e"):
        writer.delta(Piece(text))
    assert until(redis, 3) == [b"a", b"bc", b"|de"]


def test_where_nobody_waits_for_tokens_the_first_piece_waits_too(redis: Client) -> None:
    writer = RunWriter(RUN, 1, eager=False)
    writer.delta(Piece("a"))
    writer.delta(Piece("b"))
    assert until(redis, 1) == [b"ab"]


def test_whole_events_stay_in_order_with_pieces(redis: Client) -> None:
    writer = RunWriter(RUN, 1)
    writer.later(b"first")
    writer.delta(Piece("a"))
    writer.delta(Piece("b"))
    writer.later(b"then")
    writer.delta(Piece("c"))
    writer.write(b"news", b"more")
    writer.close()
    assert stored(redis) == [b"first", b"a", b"b", b"then", b"c", b"news", b"more"]


def test_what_can_wait_does_not_wait_for_ever(redis: Client) -> None:
    RunWriter(RUN, 1).later(b"alone")
    assert until(redis, 1) == [b"alone"]


def test_a_writer_that_was_fenced_knows_it_and_is_silent(redis: Client) -> None:
    writer = RunWriter(RUN, 1)
    writer.write(b"a")
    put("taken", fence=2)
    writer.write(b"b")
    assert writer.fenced
    writer.delta(Piece("c"))
    writer.close()
    assert stored(redis) == [b"a", b"taken"]


def test_many_threads_may_write_at_once(redis: Client) -> None:
    writer = RunWriter(RUN, 1)

    def write(n: int) -> None:
        for i in range(30):
            writer.write(f"{n}:{i}".encode())

    threads = [threading.Thread(target=write, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = stored(redis)
    assert len(found) == len(set(found)) == 120
    for n in range(4):
        mine = [event for event in found if event.startswith(f"{n}:".encode())]
        assert mine == [f"{n}:{i}".encode() for i in range(30)]


class Away:
    """A Redis of this test's own, which it may stop and start; its data stay."""

    def __init__(self, home: Path) -> None:
        self.part = RedisPart(home / "redis", home)
        self.url = self.part.start()

    def start(self) -> None:
        assert self.part.start() == self.url

    def stop(self) -> None:
        self.part.stop()


def _forget_clients() -> None:
    publishing._client.cache_clear()
    publishing._script.cache_clear()


@pytest.fixture
def away(tmp_path: Path, settings: Any) -> Iterator[Away]:
    own = Away(tmp_path)
    settings.REDIS_URL = own.url
    _forget_clients()
    yield own
    publishing._client().close()
    _forget_clients()
    own.stop()


def test_while_redis_is_away_the_writer_goes_on_and_nothing_is_lost(away: Away) -> None:
    writer = RunWriter(RUN, 1)
    writer.write(b"before")
    away.stop()
    began = time.monotonic()
    for n in range(200):
        writer.delta(Piece(f"|{n}"))
    writer.write(b"news", mark=7)
    assert time.monotonic() - began < 2, "the model's answer must not wait for Redis"
    away.start()
    writer.close()
    client: Client = redis_client.Redis.from_url(away.url)
    assert stored(client) == [b"before", *(f"|{n}".encode() for n in range(200)), b"news"]
    assert told(RUN) == 7
    client.close()


def test_pieces_that_waited_go_out_when_redis_is_back(away: Away) -> None:
    writer = RunWriter(RUN, 1)
    writer.write(b"before")
    away.stop()
    writer.delta(Piece("waits"))
    away.start()
    client: Client = redis_client.Redis.from_url(away.url)
    assert until(client, 2) == [b"before", b"waits"]
    client.close()


def test_a_worker_is_not_held_by_a_redis_that_stays_away(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    writer = RunWriter(RUN, 1)
    away.stop()
    writer.write(b"late")
    writer.close(wait_s=0.2)
    assert "1 events are not published yet" in caplog.text
    away.start()
    client: Client = redis_client.Redis.from_url(away.url)
    assert until(client, 1) == [b"late"]
    client.close()


# The reading side


@pytest.fixture
async def hub(redis: Client) -> AsyncIterator[Hub]:
    hub = Hub()
    yield hub
    await hub.close()


async def take(hub: Hub, count: int, after: int = 0, run_id: str = RUN) -> list[tuple[int, bytes]]:
    found = []
    async with aclosing(hub.follow(run_id, after)) as events:
        async for entry in events:
            found.append(entry)
            if len(found) == count:
                return found
    raise AssertionError("a stream of events has no end")


async def soon(work: Any, seconds: float = 10) -> Any:
    return await asyncio.wait_for(work, seconds)


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_a_follower_begins_behind_any_event(hub: Hub, after: int) -> None:
    put("a", "b", "c")
    waiting = asyncio.create_task(take(hub, 5 - after, after))
    await asyncio.sleep(0.02)
    put("d", "e")
    entries = [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d"), (5, b"e")]
    assert await soon(waiting) == entries[after:]


async def test_a_follower_waits_for_a_run_that_has_not_begun(hub: Hub) -> None:
    waiting = asyncio.create_task(take(hub, 1))
    await asyncio.sleep(0.02)
    put("a")
    assert await soon(waiting) == [(1, b"a")]


async def test_a_hundred_followers_of_many_runs_share_two_connections(hub: Hub, redis: Client) -> None:
    runs = [f"run-{n}" for n in range(20)]
    put("warm")
    before = len(redis.client_list())
    tasks = [asyncio.create_task(take(hub, 3, run_id=run)) for run in runs for _ in range(5)]
    await asyncio.sleep(0.1)
    for run in runs:
        put("a", "b", "c", run_id=run)
    found = await soon(asyncio.gather(*tasks))
    assert found == [[(1, b"a"), (2, b"b"), (3, b"c")]] * 100
    assert len(redis.client_list()) - before <= 2


async def test_a_slow_follower_catches_up_and_holds_up_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "QUEUE_SIZE", 5)
    monkeypatch.setattr(following, "REPLAY_PAGE", 7)
    slow = hub.follow(RUN)
    put("0")
    assert await soon(anext(slow)) == (1, b"0")
    quick = asyncio.create_task(take(hub, 101))
    for n in range(1, 101):
        put(str(n))
        if n % 10 == 0:
            await asyncio.sleep(0)
    expected = [(n + 1, str(n).encode()) for n in range(101)]
    assert await soon(quick) == expected
    assert [await soon(anext(slow)) for _ in range(100)] == expected[1:]
    await slow.aclose()


async def test_one_who_asks_beyond_the_end_takes_nothing_from_the_others(hub: Hub) -> None:
    put("a")
    beyond = asyncio.create_task(take(hub, 1, after=3))
    await asyncio.sleep(0.02)
    all_of_it = asyncio.create_task(take(hub, 4))
    await asyncio.sleep(0.02)
    put("b")
    put("c", "d")
    assert [event for _, event in await soon(all_of_it)] == [b"a", b"b", b"c", b"d"]
    assert await soon(beyond) == [(4, b"d")]


async def test_one_who_leaves_and_comes_back_misses_nothing(hub: Hub) -> None:
    """The read that was under way for the one who left must not feed the one who came."""
    for n in range(20):
        run = f"run-{n}"
        put("a", "b", run_id=run)
        await soon(take(hub, 2, run_id=run))
        back = asyncio.create_task(take(hub, 3, run_id=run))
        put("c", run_id=run)
        assert await soon(back) == [(1, b"a"), (2, b"b"), (3, b"c")]


async def test_a_feed_that_is_left_is_forgotten(hub: Hub) -> None:
    put("a")
    await soon(take(hub, 1))
    assert hub._streams == {}


async def test_followers_outlive_a_broken_connection(hub: Hub, redis: Client) -> None:
    events = hub.follow(RUN)
    put("a")
    assert await soon(anext(events)) == (1, b"a")
    redis.client_kill_filter(skipme=True, _type="normal")
    put("b")
    assert await soon(anext(events)) == (2, b"b")
    await events.aclose()


async def test_without_redis_a_new_follower_is_told_and_leaves_no_trace(hub: Hub, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    lost = Hub()
    first = asyncio.create_task(anext(lost.follow(OTHER)))
    await asyncio.sleep(0.02)
    with pytest.raises(RedisError):
        await soon(anext(lost.follow(RUN)))
    assert set(lost._streams) == {stream_key(OTHER)}
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await lost.close()


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_comes_and_goes_sees_each_event_once_and_in_order(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(following, "QUEUE_SIZE", 8)
    monkeypatch.setattr(following, "REPLAY_PAGE", 16)
    dice = random.Random(seed)
    total, runs = 150, [RUN, OTHER]

    async def publish(run_id: str) -> None:
        sent = 0
        while sent < total:
            count = min(dice.randint(1, 12), total - sent)
            put(*(str(sent + n + 1) for n in range(count)), run_id=run_id)
            sent += count
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.004]))

    async def follow(run_id: str) -> list[int]:
        await asyncio.sleep(dice.random() * 0.05)
        seen: list[int] = []
        while len(seen) < total:  # every now and then it hangs up, and resumes behind what it saw
            patience = dice.randint(1, 60)
            for number, event in await take(hub, min(patience, total - len(seen)), len(seen), run_id):
                assert event == str(number).encode()
                seen.append(number)
            await asyncio.sleep(dice.choice([0, 0.002]))
        return seen

    readers = [asyncio.create_task(follow(run)) for run in runs for _ in range(6)]
    await soon(asyncio.gather(*map(publish, runs)))
    for seen in await soon(asyncio.gather(*readers)):
        assert seen == list(range(1, total + 1))
    assert hub._streams == {}
