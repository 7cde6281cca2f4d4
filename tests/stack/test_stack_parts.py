"""The embedded parts: real ones, thrown away after each test."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from clickhouse_driver import Client
from redis.backoff import NoBackoff
from redis.retry import Retry

from stack import addresses
from stack.errors import StackError
from stack.parts import Stack
from stack.postgres import Postgres
from stack.redis_part import Redis

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, throwaway=True) as running:
        yield running


def ask(url: str, sql: str, *rows: tuple[object, ...]) -> object:
    client = Client.from_url(url)
    try:
        return client.execute(sql, list(rows) or None)
    finally:
        client.disconnect()


def child_pids(data_dir: Path) -> list[int]:
    return [int(path.read_text().split()[0]) for path in data_dir.glob("*/pid")]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_all_three_parts_answer_with_what_the_project_needs(stack: Stack) -> None:
    where = stack.addresses
    with psycopg.connect(where.database_url) as link:
        assert link.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector").fetchone() == (2.0,)
        assert link.execute("SELECT lower('ÄÖ'), current_setting('TimeZone')").fetchone() == ("äö", "UTC")
    cache = redis.from_url(where.redis_url)
    assert cache.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert cache.xadd("events", {"a": 1})
    cache.close()
    assert ask(where.clickhouse_url, "SELECT currentDatabase(), timezone()") == [("perennial", "UTC")]


def test_the_parts_ask_for_their_password(stack: Stack) -> None:
    port = stack.addresses.redis_url.rpartition(":")[2].removesuffix("/0")
    cache = redis.Redis(port=int(port), retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.AuthenticationError):
        cache.ping()
    cache.close()
    url = stack.addresses.clickhouse_url
    with pytest.raises(Exception, match="Authentication failed"):
        ask(url.replace(url.split(":")[2].split("@")[0], "wrong"), "SELECT 1")


def test_addresses_are_found_by_other_processes_and_closed_to_other_users(stack: Stack) -> None:
    assert addresses.read(stack.data_dir) == stack.addresses
    for name in ("stack.json", "redis/password", "redis/redis.conf", "clickhouse/password", "clickhouse/run/users.xml"):
        assert (stack.data_dir / name).stat().st_mode & 0o077 == 0, name
    for name in ("redis", "clickhouse", "postgres/cluster", "logs"):
        assert (stack.data_dir / name).stat().st_mode & 0o077 == 0, name
    assert stack.addresses.redis_url not in repr(stack.addresses)


def test_addresses_of_an_owner_whose_pid_went_to_another_process_count_for_nothing(tmp_path: Path) -> None:
    addresses.write(tmp_path, addresses.Addresses(redis_url="redis://here"))
    assert addresses.read(tmp_path) == addresses.Addresses(redis_url="redis://here")
    stored = (tmp_path / "stack.json").read_text()
    (tmp_path / "stack.json").write_text(stored.replace('"owner_began": "', '"owner_began": "1'))
    assert addresses.read(tmp_path) is None


def test_data_and_addresses_outlive_a_restart(tmp_path: Path) -> None:
    with Stack(tmp_path) as first:
        where = first.addresses
        with psycopg.connect(where.database_url) as link:
            link.execute("CREATE TABLE kept AS SELECT 7 AS n")
        with redis.from_url(where.redis_url) as cache:
            cache.set("kept", 7)
        ask(where.clickhouse_url, "CREATE TABLE kept ENGINE = MergeTree ORDER BY n AS SELECT 7 AS n")
    assert addresses.read(tmp_path) is None
    with Stack(tmp_path) as second:
        assert second.addresses == where
        with psycopg.connect(where.database_url) as link:
            assert link.execute("SELECT n FROM kept").fetchone() == (7,)
        with redis.from_url(where.redis_url) as cache:
            assert cache.get("kept") == b"7"
        assert ask(where.clickhouse_url, "SELECT n FROM kept") == [(7,)]


def test_a_second_stack_of_the_same_directory_uses_the_first_and_stops_nothing(stack: Stack) -> None:
    second = Stack(stack.data_dir)
    assert second.start() == stack.addresses
    second.stop()
    assert ask(stack.addresses.clickhouse_url, "SELECT 1") == [(1,)]


def test_a_given_address_is_used_instead_of_a_part(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "postgresql://elsewhere/db", "CLICKHOUSE_URL": "clickhouse://elsewhere", "REDIS_URL": ""}
    with Stack(tmp_path, given, throwaway=True) as running:
        assert running.addresses.database_url == given["DATABASE_URL"]
        assert running.addresses.clickhouse_url == given["CLICKHOUSE_URL"]
        assert [path.parent.name for path in tmp_path.glob("*/pid")] == ["redis"]


def test_parts_stop_when_their_starter_is_killed_and_the_next_start_works(tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path[:0] = ["{ROOT / "platform"}"]
from pathlib import Path
from stack.parts import Stack
Stack(Path("{tmp_path}")).start()
print("up", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        pids = child_pids(tmp_path)
        starter.kill()
    assert len(pids) == 3
    with Stack(tmp_path) as again:
        assert all(gone(pid) for pid in pids)
        with psycopg.connect(again.addresses.database_url) as link:
            assert link.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("rounds", [3])
def test_acknowledged_data_outlives_kill_9_of_every_part(tmp_path: Path, rounds: int) -> None:
    for done in range(rounds):
        stack = Stack(tmp_path)
        where = stack.start()
        with psycopg.connect(where.database_url, autocommit=True) as link:
            link.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            assert link.execute("SELECT count(*) FROM kept").fetchone() == (done,)
            link.execute("INSERT INTO kept VALUES (1)")
        traces = where.clickhouse_url
        ask(traces, "CREATE TABLE IF NOT EXISTS kept (n UInt8) ENGINE = MergeTree ORDER BY n")
        assert ask(traces, "SELECT count() FROM kept") == [(done,)]
        ask(traces, "INSERT INTO kept VALUES", (1,))
        for pid in child_pids(tmp_path):
            os.kill(pid, signal.SIGKILL)
        stack.stop()


def test_several_throwaway_stacks_run_at_once(tmp_path: Path) -> None:
    stacks = [Stack(tmp_path / str(number), throwaway=True) for number in range(3)]
    threads = [threading.Thread(target=stack.start) for stack in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        for number, stack in enumerate(stacks):
            ask(stack.addresses.clickhouse_url, f"CREATE DATABASE only_{number}")
        for number, stack in enumerate(stacks):
            found = ask(stack.addresses.clickhouse_url, "SHOW DATABASES LIKE 'only_%'")
            assert found == [(f"only_{number}",)]
    finally:
        for stack in stacks:
            stack.stop()


def test_a_part_that_cannot_start_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"this is no append-only file\r\n")
    with pytest.raises(StackError, match=r"(?s)Redis ended before it was ready.*[Bb]ad file format"):
        Stack(tmp_path).start()
    assert child_pids(tmp_path) == []
    assert addresses.read(tmp_path) is None


def test_a_taken_port_is_left_to_its_holder(tmp_path: Path) -> None:
    first, second = (Redis(tmp_path / name, tmp_path, throwaway=True) for name in ("one", "two"))
    url = first.start()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "port").write_text(url.rpartition(":")[2].removesuffix("/0"))
    other = second.start()
    assert other.rpartition(":")[2] != url.rpartition(":")[2]
    second.stop()
    first.stop()


def test_postgres_never_runs_as_root_and_works_below_a_directory_that_is_closed_to_all_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    part = Postgres(closed / "postgres", tmp_path, throwaway=True)
    try:
        with psycopg.connect(part.start()) as link:
            assert link.execute("SELECT 1").fetchone() == (1,)
        assert part.child is not None
        assert part.child.process is not None
        status = Path(f"/proc/{part.child.process.pid}/status").read_text()
        assert "Uid:\t0" not in status
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        part.stop()


def test_a_stale_pid_in_postgres_own_lock_does_not_stop_the_next_start(tmp_path: Path) -> None:
    part = Postgres(tmp_path / "postgres", tmp_path, throwaway=True)
    part.start()
    part.stop()
    (part.cluster / "postmaster.pid").write_text(
        f"{os.getpid()}\n{part.cluster}\n1\n5432\n{part.sockets}\n\n0 0\nready\n"
    )
    with psycopg.connect(part.start()) as link:
        assert link.execute("SELECT 1").fetchone() == (1,)
    part.stop()
