"""Several trace back ends at once: each takes every call, at its own pace, whatever becomes of the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from telemetry import segments
from telemetry.backends.clickhouse import ClickHouse
from telemetry.backends.otlp import Otlp
from telemetry.backends.postgres import Postgres
from telemetry.backends.unix_socket import UnixSocket
from telemetry.batches import Away, Batch, Refused
from telemetry.models import StoredTrace
from telemetry.segments import Positions
from telemetry.shipper import Pace, Shipper
from telemetry.spool import Limits, Spool
from telemetry.spooled import retry_quarantined
from tests.support.elsewhere import elsewhere
from tests.support.trace_readers import Collector, SocketReader

QUICK = Pace(batch_rows=7, idle_s=0.01, first_retry_s=0.02, last_retry_s=0.05)


class Kept:
    """A back end in memory. `failure`: what it raises instead of taking a batch; `poison`: the call that it refuses."""

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.ids: list[str] = []
        self.failure: Exception | None = None
        self.poison = ""

    def write(self, batch: Batch, *, doubtful: bool) -> None:
        if self.failure is not None:
            raise self.failure
        found = [entry.named()["id"] for entry in batch.entries]
        if self.poison in found:
            raise Refused("poison")
        self.ids += found

    def close(self) -> None:
        pass

    def wrong(self) -> Sequence[str]:
        return ()

    def probe(self) -> str:
        return "is a list"


@pytest.fixture
def spooled(tmp_path: Path, record: Any) -> Callable[[], list[str]]:
    """Three more segments of ten calls each."""
    folder = tmp_path / "spool"

    def write() -> list[str]:
        spool = Spool(folder, Limits(segment_age_s=60))
        ids = []
        for _ in range(3):
            ids += [record(spool) for _ in range(10)]
            spool.flush()
        spool.close()
        return ids

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def running() -> Iterator[Callable[[Shipper], Shipper]]:
    begun: list[tuple[Shipper, threading.Thread]] = []

    def start(shipper: Shipper) -> Shipper:
        begun.append((shipper, threading.Thread(target=shipper.run)))
        begun[-1][1].start()
        return shipper

    yield start
    for shipper, thread in begun:
        shipper.stop()
        thread.join(20)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def waiting(folder: Path) -> int:
    return len(segments.listed(folder, segments.SEALED, segments.DEAD))


@pytest.fixture
def collector(settings: Any) -> Iterator[Collector]:
    started = Collector()
    settings.OTLP_ENDPOINT, settings.OTLP_HEADERS = started.url, SecretStr("")
    yield started
    started.stop()


@pytest.fixture
def stored(db: None) -> Iterator[Callable[[], list[str]]]:
    """The ids in PostgreSQL, as the shipper's own connection has committed them."""
    yield lambda: elsewhere(lambda: list(StoredTrace.objects.values_list("pk", flat=True)))
    elsewhere(lambda: StoredTrace.objects.all().delete())


@pytest.fixture
def taking(traces: Any, traces_url: str, collector: Collector, stored: Any) -> dict[Any, Callable[[], list[str]]]:
    """Real ends that are up, and the ids that each has."""
    return {
        ClickHouse(traces_url): lambda: [i for (i,) in traces.execute("SELECT id FROM llm_traces")],
        Postgres(): stored,
        Otlp(): lambda: [span["attributes"]["perennial.id"] for span in collector.spans],
    }


def test_one_that_is_away_holds_up_no_other_and_gets_everything_once_it_is_back(
    folder: Path, tmp_path: Path, taking: Any, spooled: Any, running: Any
) -> None:
    reader = SocketReader(tmp_path / "reader.sock")
    shipper = running(Shipper(folder, [*taking, UnixSocket(str(reader.path))], QUICK))
    ids = spooled()
    for held in taking.values():
        wait_for(lambda held=held: len(set(ids) & set(held())) == len(ids))
    assert waiting(folder) == 3
    assert [bool(delivery.condition.away) for delivery in shipper.deliveries] == [False, False, False, True]
    reader.start()
    try:
        ids += spooled()
        wait_for(lambda: waiting(folder) == 0)
        in_socket = [said["provider_trace_id"].removeprefix("provider_trace-") for said in reader.wait(len(ids))]
        for arrived in (*(held() for held in taking.values()), in_socket):
            assert sorted(one for one in arrived if one in ids) == sorted(ids)  # other tests' calls may be there
        wait_for(lambda: [path.name for path in folder.iterdir()] == ["shipper.lock"])
    finally:
        reader.stop()


def test_a_kill_between_writing_and_marking_doubles_nothing_in_either_database(
    folder: Path, traces: Any, traces_url: str, stored: Any, spooled: Any
) -> None:
    ids = spooled()
    kept = {path: path.read_bytes() for path in segments.listed(folder, segments.SEALED)}
    assert Shipper(folder, [ClickHouse(traces_url), Postgres()], QUICK).drain()
    for path, data in kept.items():  # everything was sent, and nothing of it was marked
        path.write_bytes(data)
        ends = [record for record in segments.records(data) if record.is_end]
        for name in ("clickhouse", "postgres"):
            Positions(path, name).plan(ends[0].start, ends[6].end)
    assert Shipper(folder, [ClickHouse(traces_url), Postgres()], QUICK).drain()
    assert sorted(stored()) == sorted(ids)
    assert sorted(i for (i,) in traces.execute("SELECT id FROM llm_traces")) == sorted(ids)
    assert traces.execute("SELECT sum(calls) FROM llm_usage_daily") == [(len(ids),)]


def test_who_is_killed_takes_up_where_it_was_and_not_where_another_was(folder: Path, spooled: Any) -> None:
    ids = spooled()
    first, second = Kept("first"), Kept("second")
    [path, *_] = segments.listed(folder, segments.SEALED)
    ends = [record for record in segments.records(path.read_bytes()) if record.is_end]
    Positions(path, "second").plan(ends[0].start, ends[1].end)
    Positions(path, "second").plan(ends[2].start, ends[4].end)  # the range before it was taken
    assert Shipper(folder, [first, second], QUICK).drain()
    assert first.ids == ids
    assert second.ids == ids[2:]


def test_one_taken_out_of_the_setting_is_waited_for_no_longer_and_a_new_one_begins_with_what_is_there(
    folder: Path, spooled: Any, running: Any
) -> None:
    first, gone = Kept("first"), Kept("gone")
    gone.failure = Away("for good")
    shipper = running(Shipper(folder, [first, gone], QUICK))
    ids = spooled()
    wait_for(lambda: len(first.ids) == len(ids))
    shipper.stop()
    wait_for(lambda: shipper._lock is None)
    assert waiting(folder) == 3
    new = Kept("new")
    assert Shipper(folder, [first, new], QUICK).drain()
    assert (first.ids, new.ids) == (ids, ids)
    Shipper(folder, [first, new], QUICK).ship_once()  # begins by sweeping up what is left of the one that is gone
    assert [path.name for path in folder.iterdir()] == ["shipper.lock"]


def test_what_all_that_are_left_have_taken_goes_at_once(folder: Path, spooled: Any) -> None:
    spooled()
    for path in segments.listed(folder, segments.SEALED):
        segments.mark_of(path, "first").touch()
    first = Kept("first")
    assert Shipper(folder, [first], QUICK).drain()
    assert first.ids == []
    assert waiting(folder) == 0


def test_one_that_fails_in_a_way_of_its_own_takes_no_other_along(
    folder: Path, spooled: Any, running: Any, caplog: Any
) -> None:
    odd, other = Kept("odd"), Kept("other")
    odd.failure = ZeroDivisionError("of its own")
    running(Shipper(folder, [odd, other], QUICK))
    ids = spooled()
    wait_for(lambda: other.ids == ids)
    odd.failure = None
    wait_for(lambda: waiting(folder) == 0)
    assert odd.ids == ids
    assert len([r for r in caplog.records if "takes no traces" in r.message]) == 1


def test_what_one_refuses_is_put_aside_and_tried_again_for_it_alone(folder: Path, spooled: Any) -> None:
    ids = spooled()
    picky, other = Kept("picky"), Kept("other")
    picky.poison = ids[4]
    shipper = Shipper(folder, [picky, other], QUICK)
    assert shipper.drain()
    assert [delivery.condition.quarantined for delivery in shipper.deliveries] == [1, 0]
    assert sorted(picky.ids) == sorted(set(ids) - {ids[4]})
    picky.poison = ""
    assert retry_quarantined(folder, ["picky", "other"]) == 1
    assert Shipper(folder, [picky, other], QUICK).drain()
    assert sorted(picky.ids) == sorted(other.ids) == sorted(ids)


def test_near_the_limit_what_the_first_has_is_given_up_for_those_that_are_away(
    folder: Path, spooled: Any, running: Any, caplog: Any
) -> None:
    first, away = Kept("first"), Kept("away")
    away.failure = Away("for weeks")
    ids = spooled()
    size = segments.total_bytes(folder)
    with caplog.at_level(logging.ERROR):
        shipper = running(Shipper(folder, [first, away], QUICK, limit_bytes=size))
        wait_for(lambda: len(first.ids) == len(ids))
        shipper.stop()
        wait_for(lambda: shipper._lock is None)
        assert waiting(folder) == 3  # nothing was over at its first look
        shipper = running(Shipper(folder, [first, away], QUICK, limit_bytes=size))
        wait_for(lambda: waiting(folder) == 2)
    assert "given up for away" in caplog.text
    away.failure = None
    wait_for(lambda: waiting(folder) == 0)
    assert first.ids == ids
    assert set(away.ids) < set(ids)


def test_a_position_of_the_version_that_knew_one_back_end_is_taken_over(folder: Path, spooled: Any) -> None:
    ids = spooled()
    [path, *_] = segments.listed(folder, segments.SEALED)
    ends = [record for record in segments.records(path.read_bytes()) if record.is_end]
    Positions(path, "clickhouse").plan(ends[0].start, ends[1].end)
    Positions(path, "clickhouse").plan(ends[2].start, ends[4].end)
    Positions(path, "clickhouse").path.rename(path.with_suffix(segments.POSITION))
    kept = Kept("clickhouse")
    assert Shipper(folder, [kept], QUICK).drain()
    assert kept.ids == ids[2:]
