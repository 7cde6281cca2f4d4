"""What every test may ask for: real parts on demand, two organizations, a client of the API.

`parts` starts the shared PostgreSQL, Redis and ClickHouse (tests.support.parts) when the first test asks for one, and
points this process's settings, and the environment of processes it starts, at this worker's own databases. `db` brings
`parts` with it. Until then the settings lead nowhere, so that no test can reach a developer's data by accident.
`clickhouse`: its address, migrated, the tables empty. `redis`: a client of an empty Redis database.
A conftest.py in a subfolder must not import models at its top: Django is ready only when fixtures run.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.api import Api, Tenant, make_tenant
from tests.support.parts import TestParts, environment, start_test_parts

if TYPE_CHECKING:
    from redis import Redis

NOWHERE = "127.0.0.1:9"

# How fast examples are made says how busy the machine is, not whether the code is right.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    _point_settings_at(f"redis://{NOWHERE}/0", f"clickhouse://{NOWHERE}/none", "/nonexistent/spool")


def _point_settings_at(redis_url: str, clickhouse_url: str, spool: str) -> None:
    from django.conf import settings

    from config.celery import app

    settings.REDIS_URL = settings.CELERY_BROKER_URL = app.conf.broker_url = redis_url
    settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = [redis_url]
    settings.CLICKHOUSE_URL = clickhouse_url
    settings.TELEMETRY_SPOOL_DIR = spool
    settings.PROVIDER_ALLOWED_HOSTS = ["127.0.0.1", "localhost"]  # where vendors live in tests
    # A slow hash is right for real passwords, and would be most of the time of what logs in here.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def parts() -> Iterator[TestParts]:
    """This worker's own databases on the parts that all workers share."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    found = start_test_parts(worker, os.environ.get("PYTEST_XDIST_TESTRUNUID", ""))
    spool = str(found.data_dir / "spools" / worker)
    os.environ.update(environment(found), TELEMETRY_SPOOL_DIR=spool)
    _point_settings_at(found.redis_url, found.clickhouse_url, spool)
    yield found
    from telemetry.client import pool

    pool().close()


@pytest.fixture(scope="session")
def _traces_url(parts: TestParts) -> str:
    from telemetry.migrate import Retention, migrate

    migrate(parts.clickhouse_url, Retention(trace_days=36500, payload_days=36500))
    return parts.clickhouse_url


@pytest.fixture
def clickhouse(_traces_url: str) -> Iterator[str]:
    """The address that the settings name."""
    yield _traces_url
    from telemetry.client import connect

    client = connect(_traces_url)
    tables = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    for (name,) in client.execute(f"{tables} AND name != 'telemetry_migrations'"):
        client.execute(f"TRUNCATE TABLE {name}")
    client.disconnect()


@pytest.fixture
def redis(parts: TestParts) -> Iterator[Redis[Any]]:
    from redis import Redis

    client = Redis.from_url(parts.redis_url)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(parts: TestParts) -> None:
    from django.db import connections

    from config.settings import _database

    found = _database(parts.database_url)
    found["OPTIONS"].pop("pool")  # tests share one connection, and the database is dropped under them
    connections.settings["default"].update(found)
    connections["default"].settings_dict.update(found)


_blocker: list[Any] = []


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    _blocker.append(django_db_blocker)
    _sync_base_tools()


def _sync_base_tools() -> None:
    """The base tools are there, as after `migrate` in an installation."""
    from agents.tools.registry import sync_base_tools

    with _blocker[0].unblock():
        sync_base_tools()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """A test that commits has every table emptied after it: what the whole run shares is put back."""
    yield
    if nextitem is None:  # the database is gone already
        return
    marker = item.get_closest_marker("django_db")
    if "transactional_db" in getattr(item, "fixturenames", ()) or (marker and marker.kwargs.get("transaction")):
        _sync_base_tools()


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant("ours")


@pytest.fixture
def stranger(db: None) -> Tenant:
    return make_tenant("theirs")


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return Api(tenant.key)


@pytest.fixture
def their_api(stranger: Tenant) -> Api:
    return Api(stranger.key)
