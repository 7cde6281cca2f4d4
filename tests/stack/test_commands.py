"""The commands around the parts: doctor says the mend, celery has defaults that a caller can override."""

import contextlib
import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command


def diagnose() -> dict[str, dict[str, Any]]:
    out = StringIO()
    with contextlib.suppress(SystemExit):
        call_command("doctor", "--json", stdout=out)
    return {found["check"]: found for found in json.loads(out.getvalue())}


@pytest.mark.django_db
def test_doctor_finds_nothing_wrong_with_parts_that_work(clickhouse: str, redis: Any) -> None:
    found = diagnose()
    wrong = {name for name, one in found.items() if not one["ok"]}
    assert wrong <= {"worker", "provider"}, found
    assert "pgvector" in found["PostgreSQL"]["detail"]
    assert "manage.py celery worker" in found["worker"]["mend"]
    assert "hyperscan" in found["masking"]["detail"]


@pytest.mark.django_db
def test_doctor_names_what_is_missing_and_the_mend(settings: Any) -> None:
    settings.CLICKHOUSE_URL = ""
    settings.REDIS_URL = ""
    settings.ENCRYPTION_KEYS = []
    settings.BASE_PROVIDERS = [{"name": "scripted", "provider_type": "scripted"}]
    found = diagnose()
    for name, mend in {
        "ClickHouse": "CLICKHOUSE_URL",
        "Redis": "REDIS_URL",
        "worker": "celery worker",
        "keys": "ENCRYPTION_KEYS",
        "provider": "OPENAI_API_KEY",
    }.items():
        assert not found[name]["ok"]
        assert mend in found[name]["mend"]


def test_doctor_is_readable_and_exits_with_1_when_something_is_wrong(settings: Any, db: None) -> None:
    settings.REDIS_URL = ""
    out = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("doctor", stdout=out)
    assert (
        "FAIL Redis        no Redis is set\n                  Set REDIS_URL, or start one: make up\n" in out.getvalue()
    )


def test_celery_workers_use_threads_and_a_callers_options_win(settings: Any) -> None:
    from config.management.commands.celery import with_defaults

    settings.WORKER_CONCURRENCY = 8
    args = with_defaults(["worker", "-c", "3", "-l", "info"])
    assert args[:6] == ["-q", "worker", "-P", "threads", "-c", "8"]
    assert args[-4:] == ["-c", "3", "-l", "info"]
    assert with_defaults(["inspect", "ping"]) == ["inspect", "ping"]
    assert with_defaults(["worker", "--help"]) == ["worker", "--help"]
