"""A migrated ClickHouse database for each test that asks, on the shared test parts; calls to put into it."""

import itertools
import uuid
from datetime import UTC, datetime

import pytest
from clickhouse_driver import Client

from telemetry.migrate import Retention, migrate
from telemetry.trace import CallEnd, CallStart

_numbers = itertools.count()


@pytest.fixture
def empty_database(parts):
    """The address of a database that does not exist yet; removed afterwards."""
    clickhouse_server = parts.clickhouse_url
    name = f"{clickhouse_server.rpartition('/')[2]}_telemetry_{next(_numbers)}"
    yield clickhouse_server.rpartition("/")[0] + f"/{name}"
    client = Client.from_url(clickhouse_server)
    client.execute(f"DROP DATABASE IF EXISTS {name} SYNC")
    client.disconnect()


@pytest.fixture(scope="session")
def _migrated_database(parts):
    url = f"{parts.clickhouse_url}_telemetry"
    migrate(url, Retention(trace_days=10_000, payload_days=10_000))
    return url


@pytest.fixture
def traces(_migrated_database):
    """A connection to look at the tables with."""
    client = Client.from_url(_migrated_database)
    yield client
    tables = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    for (table,) in client.execute(f"{tables} AND name != 'telemetry_migrations'"):
        client.execute(f"TRUNCATE TABLE {table}")
    client.disconnect()


@pytest.fixture
def traces_url(_migrated_database, traces):
    """The address of a migrated database whose tables are empty."""
    return _migrated_database


@pytest.fixture
def make_call():
    def make(**given):
        known = {
            "id": str(uuid.uuid4()),
            "organization_id": "org-1",
            "call_type": "agent_step",
            "provider": "openai",
            "model": "gpt-x",
            "created_at": datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC),
            "request_json": b'{"messages":[]}',
        }
        return CallStart(**(known | given))

    return make


@pytest.fixture
def record(make_call):
    """Write one whole call into a spool: `record(spool, model="m", end={"output_tokens": 3})`."""

    def write(spool, end=None, **given):
        start = make_call(**given)
        spool.begin(start).finish(CallEnd(**({"response_json": b'{"ok":true}', "output_tokens": 3} | (end or {}))))
        return start.id

    return write


@pytest.fixture
def look(clickhouse):
    """Asks the ClickHouse of the settings."""
    client = Client.from_url(clickhouse)
    yield client.execute
    client.disconnect()
