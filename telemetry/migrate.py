"""ClickHouse's tables: numbered SQL files, each applied once and safe to apply again.

Two processes may migrate at the same time: every statement says IF NOT EXISTS, or comes to the same when repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clickhouse_driver import Client
from clickhouse_driver.errors import ErrorCodes, ServerException
from clickhouse_driver.util.helpers import parse_url

from telemetry.client import CLIENT_ERRORS, TelemetryUnavailable, connect

SCHEMA = Path(__file__).parent / "schema"
RECORD = """
CREATE TABLE IF NOT EXISTS telemetry_migrations (name String, applied_at DateTime DEFAULT now())
ENGINE = ReplacingMergeTree ORDER BY name
"""
RETAINED = re.compile(r"TTL .*?toIntervalDay\((\d+)\)")


# ClickHouse counts a row's end in 32 bits of seconds: further away it wraps round, and the row is gone at once.
LONGEST_DAYS = 10_000


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that rows are kept, 27 years at most. Sums are kept for ever."""

    trace_days: int = 90
    payload_days: int = 30

    def __post_init__(self) -> None:
        object.__setattr__(self, "trace_days", min(int(self.trace_days), LONGEST_DAYS))
        object.__setattr__(self, "payload_days", min(int(self.payload_days), LONGEST_DAYS))


def _silent(line: str) -> None:
    return None


def migrate(url: str, retention: Retention, report: Callable[[str], None] = _silent) -> list[str]:
    """Bring the database of `url` up to date, and its retention to what is set. Returns the files applied."""
    try:
        _create_database(url)
        client = connect(url)
        try:
            return _migrate(client, retention, report)
        finally:
            client.disconnect()
    except CLIENT_ERRORS as error:
        raise TelemetryUnavailable(f"ClickHouse could not be migrated: {error}") from error


def pending(url: str) -> list[str]:
    """Files not applied yet."""
    try:
        client = connect(url)
        try:
            done = _applied(client)
        finally:
            client.disconnect()
    except CLIENT_ERRORS as error:
        raise TelemetryUnavailable(f"ClickHouse does not answer: {error}") from error
    return [path.name for path in files() if path.name not in done]


def files() -> list[Path]:
    return sorted(SCHEMA.glob("[0-9][0-9][0-9][0-9]_*.sql"))


def statements(path: Path, retention: Retention) -> Iterator[str]:
    """Each ends with a semicolon at the end of a line; whole-line comments are for people."""
    sql = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("--"))
    sql = sql.replace("{trace_days}", str(retention.trace_days))
    sql = sql.replace("{payload_days}", str(retention.payload_days))
    return (statement for part in re.split(r";\s*$", sql, flags=re.MULTILINE) if (statement := part.strip()))


def _migrate(client: Client, retention: Retention, report: Callable[[str], None]) -> list[str]:
    client.execute(RECORD)
    done = _applied(client)
    applied = []
    for path in files():
        if path.name in done:
            continue
        for statement in statements(path, retention):
            client.execute(statement)
        client.execute("INSERT INTO telemetry_migrations (name) VALUES", [{"name": path.name}])
        report(f"applied {path.name}")
        applied.append(path.name)
    _retain(client, "llm_traces", retention.trace_days, report)
    _retain(client, "llm_repricings", retention.trace_days, report)
    _retain(client, "llm_payloads", retention.payload_days, report)
    return applied


def _applied(client: Client) -> set[str]:
    try:
        return {name for (name,) in client.execute("SELECT name FROM telemetry_migrations")}
    except ServerException as error:
        if error.code == ErrorCodes.UNKNOWN_TABLE:
            return set()
        raise


def _retain(client: Client, table: str, days: int, report: Callable[[str], None]) -> None:
    """Old rows go at the next merge: changing a setting must not rewrite the table at once."""
    query = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = %(table)s"
    [(engine,)] = client.execute(query, {"table": table})
    found = RETAINED.search(engine)
    if found is None or int(found[1]) != days:
        client.execute(
            f"ALTER TABLE {table} MODIFY TTL toDateTime(created_at) + toIntervalDay({days})",
            settings={"materialize_ttl_after_modify": 0},
        )
        report(f"{table} is kept for {days} days")


def _create_database(url: str) -> None:
    _, options = parse_url(url)
    name = options.get("database", "default")
    if not re.fullmatch(r"\w+", name):
        raise TelemetryUnavailable(f"CLICKHOUSE_URL: {name!r} is no name for a database (letters, digits, _).")
    client = connect(url)
    try:
        client.execute("SELECT 1")
        return
    except ServerException as error:
        if error.code != ErrorCodes.UNKNOWN_DATABASE:
            raise
    finally:
        client.disconnect()
    client = connect(url, database="default")
    try:
        client.execute(f"CREATE DATABASE IF NOT EXISTS {name}")
    finally:
        client.disconnect()
