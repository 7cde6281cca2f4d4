"""`kill -9` of the worker while tools run: what can be run again is, what cannot is told to be unknown, once each."""

from __future__ import annotations

import json

import pytest
from letta_client import Letta

from tests.support.live import MODEL, Live, wait_for

RECOVERED_S = 30
MAKE = """
import json
from accounts.models import Organization
from agents.models import Tool
source = "import time\\ndef {name}(word: str):\\n    time.sleep(3)\\n    return 'heard ' + word\\n"
parameters = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
made = {}
for name, network in (("hear_slowly", False), ("mail_slowly", True)):
    schema = {"name": name, "description": "A slow tool.", "parameters": parameters}
    organization = Organization.objects.get()
    tool = Tool.objects.create(
        organization=organization, name=name, source_code=source.replace("{name}", name), json_schema=schema,
        network=network,
    )
    made[name] = tool.pk
print(json.dumps(made))
"""
UNDER_WAY = "SELECT count(*) FROM conversations_toolexecution WHERE started_at IS NOT NULL AND result IS NULL"
ACTIVE = "SELECT count(*) FROM conversations_run WHERE id = ANY(%s) AND status IN ('queued', 'running')"
RETURNS = "SELECT tool_returns -> 0 ->> 'content' FROM conversations_message WHERE run_id = %s AND role = 'tool'"
STEPS = "SELECT status FROM conversations_step WHERE run_id = %s ORDER BY index"


@pytest.mark.timeout(120)
def test_tool_calls_outlive_the_worker_that_made_them(live: Live, client: Letta) -> None:
    tools: dict[str, str] = json.loads(live.manage("shell", "-v", "0", "-c", MAKE).strip().splitlines()[-1])
    before = live.calls_seen()
    runs: dict[str, str] = {}
    for name, tool_id in tools.items():
        agent = client.agents.create(model=MODEL, include_base_tools=False, tool_ids=[tool_id])
        script = f'[[tool {name} {{"word": "you"}} then say done]]'
        runs[name] = client.agents.messages.create_async(agent.id, input=script).id[-36:]
    wait_for(lambda: live.sql(UNDER_WAY)[0][0] == 2, RECOVERED_S, what="both tools run")
    live.kill("worker")
    live.start_service("worker")
    wait_for(lambda: not live.sql(ACTIVE, list(runs.values()))[0][0], RECOVERED_S, what="the runs ended")

    assert live.sql(RETURNS, runs["hear_slowly"]) == [("heard you",)]
    ((told,),) = live.sql(RETURNS, runs["mail_slowly"])
    assert "outcome of this call is unknown" in told
    for run_id in runs.values():
        assert live.sql(STEPS, run_id) == [("success",), ("success",)]
    assert live.calls_seen() - before == 4, "no model was asked twice"
    assert live.sql("SELECT count(*) FROM conversations_toolexecution") == [(0,)]
