"""ClickHouse's own logs must not outgrow the traces: neither on the embedded server nor with the file for others."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from clickhouse_driver import Client

from stack import clickhouse as part

CAPS = Path(__file__).resolve().parents[2] / "deploy" / "clickhouse" / "system_logs.xml"
LOGS = "SELECT name, engine_full LIKE '%TTL event_date%' FROM system.tables WHERE database = 'system' AND engine = 'MergeTree'"


def logs_of(url):
    """Each log that is a table, and whether it is capped; all of them are made first."""
    client = Client.from_url(url)
    try:
        client.execute("SELECT 1")
        client.execute("SYSTEM FLUSH LOGS")
        return dict(client.execute(LOGS))
    finally:
        client.disconnect()


def test_the_embedded_server_keeps_no_log_without_an_end(parts):
    assert {name for name, capped in logs_of(parts.clickhouse_url).items() if not capped} == set()


def test_the_caps_for_other_servers_do_cap(tmp_path, monkeypatch):
    sections = ElementTree.parse(CAPS).getroot()
    capped = [section for section in sections if "remove" not in section.attrib]
    xml = "".join(ElementTree.tostring(section, encoding="unicode") for section in capped)
    monkeypatch.setattr(part, "CONFIG", part.CONFIG.replace("</clickhouse>", f"{xml}</clickhouse>"))
    server = part.ClickHouse(tmp_path / "clickhouse", tmp_path, throwaway=True)
    try:
        found = logs_of(server.start())
    finally:
        server.stop()
    assert found == {section.tag: 1 for section in capped}


@pytest.mark.parametrize(
    "log", ["query_log", "part_log", "trace_log", "metric_log", "asynchronous_metric_log", "text_log"]
)
def test_every_log_that_grows_by_itself_is_capped_or_off(log):
    section = ElementTree.parse(CAPS).getroot().find(log)
    assert section is not None
    assert section.get("remove") == "1" or section.findtext("ttl")
