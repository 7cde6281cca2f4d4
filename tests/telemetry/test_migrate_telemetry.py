"""ClickHouse's tables: made once, by whoever comes first, and kept as long as the settings say."""

import threading
from io import StringIO

import pytest
from clickhouse_driver import Client
from django.core.management import CommandError, call_command

from telemetry.client import TelemetryUnavailable
from telemetry.migrate import LONGEST_DAYS, Retention, files, migrate, pending


def engine(url, table):
    client = Client.from_url(url)
    [(found,)] = client.execute(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = %(t)s", {"t": table}
    )
    client.disconnect()
    return found


def test_the_second_run_has_nothing_to_do(empty_database):
    names = [path.name for path in files()]
    assert migrate(empty_database, Retention()) == names
    assert pending(empty_database) == []
    assert migrate(empty_database, Retention()) == []


def test_files_are_numbered_without_gap_or_repetition():
    assert [int(path.name[:4]) for path in files()] == list(range(1, len(files()) + 1))


def test_a_migration_that_died_half_way_goes_on(empty_database):
    migrate(empty_database, Retention())
    client = Client.from_url(empty_database)
    client.execute("TRUNCATE TABLE telemetry_migrations")
    client.execute("DROP TABLE llm_usage_hourly_from_detail")
    client.disconnect()
    assert len(pending(empty_database)) == len(files())
    migrate(empty_database, Retention())
    assert pending(empty_database) == []
    assert engine(empty_database, "llm_usage_hourly").startswith("SummingMergeTree")


def test_two_processes_may_migrate_at_once(empty_database):
    problems = []

    def work():
        try:
            migrate(empty_database, Retention())
        except TelemetryUnavailable as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert pending(empty_database) == []


def test_retention_follows_the_settings(empty_database):
    said = []
    migrate(empty_database, Retention(trace_days=90, payload_days=30), said.append)
    assert "toIntervalDay(90)" in engine(empty_database, "llm_traces")
    assert not [line for line in said if "kept for" in line]
    migrate(empty_database, Retention(trace_days=400, payload_days=7), said.append)
    assert "toIntervalDay(400)" in engine(empty_database, "llm_traces")
    assert "toIntervalDay(7)" in engine(empty_database, "llm_payloads")


def test_a_retention_beyond_what_clickhouse_can_count_does_not_delete_everything(empty_database):
    migrate(empty_database, Retention(trace_days=10**6, payload_days=10**6))
    assert f"toIntervalDay({LONGEST_DAYS})" in engine(empty_database, "llm_traces")


def test_every_table_that_is_inserted_into_remembers_tokens(traces_url):
    for table in ("llm_traces", "llm_payloads", "llm_usage_daily", "llm_usage_hourly"):
        assert "non_replicated_deduplication_window = 100000" in engine(traces_url, table)


def test_the_command_says_what_it_did_and_what_is_wrong(empty_database, settings):
    settings.CLICKHOUSE_URL = empty_database
    out = StringIO()
    call_command("migrate_telemetry", stdout=out)
    assert "applied 0001_llm_traces.sql" in out.getvalue()
    call_command("migrate_telemetry", stdout=out)
    assert out.getvalue().endswith("ClickHouse is up to date.\n")
    settings.CLICKHOUSE_URL = ""
    with pytest.raises(CommandError, match=r"manage\.py up"):
        call_command("migrate_telemetry")
    settings.CLICKHOUSE_URL = "clickhouse://nobody:secret@127.0.0.1:1/none"
    with pytest.raises(CommandError) as caught:
        call_command("migrate_telemetry")
    assert "secret" not in str(caught.value)
