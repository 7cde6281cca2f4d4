"""People's own SQL reads the traces of their organization, whatever it says, and nothing else on the server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts.actions import NewKey, create_api_key
from accounts.models import AuditEntry
from core.errors import AppError, BadInput
from core.time import now
from stack.clickhouse import ClickHouse
from telemetry import sql_console
from telemetry.client import connect, pool
from telemetry.inserter import INSERT_PAYLOADS, INSERT_TRACES
from telemetry.migrate import Retention, migrate
from telemetry.trace import CallEnd, CallStart, end_row, start_row
from tests.support.seed import Seeded

OTHERS = f"org-{uuid.uuid4()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    home = tmp_path_factory.mktemp("console")
    clickhouse = ClickHouse(home / "clickhouse", home, throwaway=True)
    try:
        clickhouse.url = clickhouse.start()  # type: ignore[attr-defined]
        migrate(clickhouse.url, Retention(trace_days=10_000, payload_days=10_000))  # type: ignore[attr-defined]
        yield clickhouse
    finally:
        clickhouse.stop()


@pytest.fixture
def asked(server: Any, settings: Any, world: Seeded) -> Iterator[Any]:
    """The server with two calls of the world's organization and three of another one's."""
    settings.CLICKHOUSE_URL, settings.CLICKHOUSE_CONSOLE_URL = server.url, server.console_url
    client = connect(server.url)
    for table in ("llm_traces", "llm_payloads", "llm_usage_daily", "llm_usage_hourly"):
        client.execute(f"TRUNCATE TABLE {table}")
    for organization, calls in ((str(world.organization.pk), 2), (OTHERS, 3)):
        for _ in range(calls):
            _insert(client, organization)
    client.disconnect()
    yield server
    pool().close()


def _insert(client: Any, organization: str) -> None:
    start = CallStart(
        id=str(uuid.uuid4()),
        organization_id=organization,
        call_type="agent_step",
        provider="openai",
        model="m",
        created_at=now(),
        request_json=b"{}",
    )
    row = [*start_row(start), *end_row(CallEnd(output_tokens=7, cost_usd=Decimal("0.25"), price_source="x"))]
    client.execute(INSERT_TRACES, [row])
    client.execute(INSERT_PAYLOADS, [(start.id, organization, row[18], '{"secret": 1}', "{}", "{}")])


ATTEMPTS = [
    "SELECT organization_id FROM llm_traces",
    "SELECT organization_id FROM llm_payloads",
    "SELECT organization_id FROM llm_traces_full",
    "SELECT organization_id FROM llm_ledger",
    "SELECT organization_id FROM llm_usage_daily UNION ALL SELECT organization_id FROM llm_usage_hourly",
    f"SELECT organization_id FROM llm_traces WHERE organization_id = '{OTHERS}' OR 1",
    "SELECT organization_id FROM merge(currentDatabase(), 'llm_(traces|payloads)$')",
    "WITH 'console:*:x' AS i SELECT organization_id FROM llm_traces PREWHERE i != '' ",
    "SELECT t.organization_id FROM llm_traces AS t RIGHT JOIN llm_payloads AS p ON p.created_at != t.created_at OR 1",
]


def test_rows_of_other_organizations_never_answer(asked: Any, world: Seeded) -> None:
    own = str(world.organization.pk)
    for sql in ATTEMPTS:
        found = {row[0] for row in sql_console.ask(own, sql).rows}
        assert own in found, sql
        assert found <= {own, ""}, sql
    assert {row[0] for row in sql_console.ask(None, ATTEMPTS[0]).rows} == {own, OTHERS}


REFUSED = [
    "INSERT INTO llm_traces (id) VALUES ('x')",
    "ALTER TABLE llm_traces DELETE WHERE 1",
    "DROP TABLE llm_traces",
    "SET readonly = 0",
    "SELECT 1; SELECT 2",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT count() FROM llm_traces SETTINGS max_execution_time = 1000",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.users",
    "SELECT * FROM telemetry_migrations",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', currentDatabase(), 'llm_traces')",
    "KILL QUERY WHERE 1",
    "SELECT groupArray(number) FROM numbers(400000000)",
    "nonsense",
]


def test_what_does_not_only_read_traces_is_refused_with_the_reason(asked: Any, world: Seeded) -> None:
    for sql in REFUSED:
        with pytest.raises(BadInput) as refused:
            sql_console.ask(str(world.organization.pk), sql)
        assert len(refused.value.message) > 10, sql
        assert "Stack trace" not in refused.value.message, sql


def test_a_long_answer_is_cut_and_says_so(asked: Any, world: Seeded) -> None:
    answer = sql_console.ask(str(world.organization.pk), "SELECT number FROM numbers(1000000)")
    assert (len(answer.rows), answer.cut) == (sql_console.MOST_ROWS, True)
    whole = sql_console.ask(str(world.organization.pk), "SELECT number FROM numbers(10);")
    assert (len(whole.rows), whole.cut, whole.columns[0].type) == (10, False, "UInt64")


def test_an_account_without_row_policies_is_not_used(asked: Any, world: Seeded, settings: Any) -> None:
    settings.CLICKHOUSE_CONSOLE_URL = asked.url
    with pytest.raises(AppError, match="row policies are missing"):
        sql_console.ask(str(world.organization.pk), "SELECT 1")


def test_the_page_answers_as_a_table_and_as_csv_and_notes_who_asked(asked: Any, world: Seeded, browser: Any) -> None:
    page = reverse("admin:telemetry_sql")
    owner = browser("owner")
    sql = "SELECT model, sum(cost_usd) AS usd, '=1+1' AS formula FROM llm_traces GROUP BY model"
    html = owner.post(page, {"sql": sql}).content.decode()
    assert "0.5" in html
    assert "1 row" in html
    csv = owner.post(page, {"sql": sql, "format": "csv"}).content.decode().splitlines()
    assert csv[0] == "model,usd,formula"
    assert csv[1].startswith("m,0.5")
    assert csv[1].endswith("'=1+1")
    kept = AuditEntry.objects.filter(organization=world.organization, action="traces.query")
    assert [entry.after["sql"] for entry in kept] == [sql, sql]
    refused = owner.post(page, {"sql": "SELECT <b>"}).content.decode()
    assert "No answer." in refused
    assert "<b>" not in refused
    assert browser("viewer").get(page).status_code == 403


def test_by_api_admins_ask_and_others_may_not(asked: Any, world: Seeded, browser: Any) -> None:
    body, sql = {"sql": "SELECT count() AS n, sum(cost_usd) AS usd FROM llm_traces"}, "/api/sql"
    bearer = {"Authorization": f"Bearer {create_api_key(world.organization, world.owner, NewKey(name='all'))[1]}"}
    answer = browser("outsider").post(sql, body, "application/json", headers=bearer)
    assert (answer.status_code, answer.json()["rows"]) == (200, [[2, "0.5"]])
    assert [column["name"] for column in answer.json()["columns"]] == ["n", "usd"]
    wrong = browser("admin").post(sql, {"sql": "DROP TABLE llm_traces"}, "application/json")
    assert (wrong.status_code, "DROP" in wrong.json()["detail"]) == (400, True)
    assert browser("viewer").post(sql, body, "application/json").status_code == 403
