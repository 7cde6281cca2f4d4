"""SQL that people write, over their organization's traces alone, read-only and bounded.

Nothing here looks into the text. ClickHouse's own account for it (deploy/clickhouse/console_user.xml) may read the
tables of traces and nothing else, for 15 s, 1 GiB and 10,000 rows; a row policy lets only rows pass whose organization
stands in the id of the query, which the text cannot change.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from clickhouse_driver.errors import Error, NetworkError, ServerException
from django.conf import settings

from core.errors import BadInput, Invalid
from telemetry.client import CLIENT_ERRORS, TelemetryUnavailable, connect, pool

MOST_ROWS = 10_000
LONGEST_SQL = 20_000
EVERYBODY = "*"
NOBODY = "nobody"
OTHERS_ROWS = (
    "SELECT count() FROM llm_traces",
    "SELECT count() FROM llm_payloads",
    "SELECT count() FROM llm_usage_daily",
    "SELECT count() FROM llm_usage_hourly",
)
# The account exceeds its share of the server, not the user his rights: say so as an outage that passes.
BUSY_CODES = {202, 203, 209, 210}
_QUOTED = "Say only what to read: one SELECT, without FORMAT or SETTINGS."

_checked: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """What can be asked."""

    name: str
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Answer:
    """`cut`: there were more than MOST_ROWS rows."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    took_ms: int
    cut: bool


def available() -> bool:
    return bool(settings.CLICKHOUSE_CONSOLE_URL)


def ask(organization_id: str | None, sql: str) -> Answer:
    """What the query finds among the rows of the organization; None, for superusers alone: among all rows.

    Raises BadInput with ClickHouse's own words where the query is wrong or too large, TelemetryUnavailable.
    """
    text = sql.strip().rstrip(";").strip()
    if not text:
        raise Invalid("Write a query: SELECT model, sum(cost_usd) FROM llm_traces GROUP BY model")
    if len(text) > LONGEST_SQL:
        raise Invalid(f"A query has {LONGEST_SQL} characters at most.")
    _check_policies()
    began = time.perf_counter()
    rows, types = _execute(organization_id or EVERYBODY, text)
    return Answer(
        columns=[Column(name, kind) for name, kind in types],
        rows=rows[:MOST_ROWS],
        took_ms=round((time.perf_counter() - began) * 1000),
        cut=len(rows) > MOST_ROWS,
    )


@lru_cache(maxsize=4)
def _tables(url: str) -> list[Table]:
    sql = (
        "SELECT table, groupArray((name, type)) FROM"
        " (SELECT table, name, type FROM system.columns WHERE database = currentDatabase() ORDER BY table, position)"
        " GROUP BY table ORDER BY table"
    )
    rows, _ = _execute(NOBODY, sql)
    return [Table(name, [Column(*column) for column in columns]) for name, columns in rows]


def tables() -> list[Table]:
    """The tables and columns that the account may read. Raises TelemetryUnavailable."""
    return _tables(_url())


def _url() -> str:
    url: str = settings.CLICKHOUSE_CONSOLE_URL
    if not url:
        raise TelemetryUnavailable(
            "The SQL console has no account: put deploy/clickhouse/console_user.xml on the ClickHouse server and set"
            " CLICKHOUSE_CONSOLE_URL."
        )
    return url


def _execute(organization: str, sql: str) -> tuple[list[Sequence[Any]], list[tuple[str, str]]]:
    client = connect(_url(), send_receive_timeout=30)
    try:
        query_id = f"console:{organization}:{secrets.token_hex(8)}"
        found: Any = client.execute(sql, with_column_types=True, query_id=query_id)
        # A statement without an answer (SET, USE …) comes back as a bare list.
        return found if isinstance(found, tuple) else ([], [])
    except ServerException as error:
        raise _refusal(error) from None
    except NetworkError as error:
        raise TelemetryUnavailable("ClickHouse did not answer the SQL console.") from error
    except CLIENT_ERRORS as error:
        raise BadInput(f"The answer cannot be shown: {type(error).__name__}. {_QUOTED}") from error
    finally:
        client.disconnect()  # at once: the server ends a query that nobody listens to


def _refusal(error: Error) -> Exception:
    said = " ".join((error.message or str(error)).partition("Stack trace:")[0].split())[:2000]
    if error.code == 516:
        return TelemetryUnavailable("ClickHouse refuses the SQL console's account: check CLICKHOUSE_CONSOLE_URL.")
    if error.code in BUSY_CODES:
        return TelemetryUnavailable("ClickHouse runs as many console queries as it may: try again in a moment.")
    return BadInput(said.removeprefix("DB::Exception: "), extra={"clickhouse_code": error.code})


def _check_policies() -> None:
    """That an organization nobody has sees nothing, once for each process: an account without the row policies of
    console_user.xml would show everything to everybody. Raises TelemetryUnavailable."""
    url = _url()
    if url in _checked:
        return
    with _lock:
        for sql in OTHERS_ROWS:
            (seen,), _ = _execute(NOBODY, sql)
            if seen[0]:
                raise TelemetryUnavailable(
                    "The SQL console's account sees rows of every organization, so it is not used: its row policies"
                    " are missing, see deploy/clickhouse/console_user.xml."
                )
        if pool().select("SELECT count() > 0 FROM llm_traces", {}, {})[0][0]:
            _checked.add(url)  # before that, an empty table shows nothing either way
