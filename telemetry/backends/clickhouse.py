"""ClickHouse: the back end that dashboards and sums are made from. Each call once, sums included."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from telemetry import queries
from telemetry.batches import Away, Batch
from telemetry.client import CLIENT_ERRORS, connect
from telemetry.inserter import Inserter
from telemetry.queries import Trace, TraceRow
from telemetry.settle import Settler


class ClickHouse:
    """Writes to `url`, else to the one of the settings; reading always asks the one of the settings."""

    name = "clickhouse"

    def __init__(self, url: str = "") -> None:
        self._url = url or settings.CLICKHOUSE_URL
        self._writers: tuple[Inserter, Settler] | None = None

    def write(self, batch: Batch, *, doubtful: bool) -> None:
        if self._writers is None:
            inserter = Inserter(self._url)
            self._writers = inserter, Settler(self._url, inserter)
        inserter, settler = self._writers
        inserter.insert(batch)
        if doubtful:
            settler.settle(batch)

    def close(self) -> None:
        for writer in self._writers or ():
            writer.disconnect()

    def wrong(self) -> Sequence[str]:
        return ()  # telemetry.checks looks at CLICKHOUSE_URL, which the dashboards need too

    def probe(self) -> str:
        if not self._url:
            raise Away("No ClickHouse is set: give CLICKHOUSE_URL, or start one with `manage.py up`.")
        client = connect(self._url, connect_timeout=3, send_receive_timeout=5)
        try:
            client.execute("SELECT id FROM llm_traces LIMIT 0")
        except CLIENT_ERRORS as error:
            raise Away((str(error).strip().splitlines() or ["no answer"])[0]) from error
        finally:
            client.disconnect()
        return "answers"

    def call(self, organization_id: str | None, call_id: str) -> Trace | None:
        return queries.get_trace(organization_id, call_id)

    def call_of_step(self, organization_id: str, step_id: str) -> Trace | None:
        return queries.trace_of_step(organization_id, step_id)

    def calls_of_run(self, organization_id: str, run_id: str, limit: int) -> Sequence[TraceRow]:
        return queries.traces_of_run(organization_id, run_id, limit)
