"""POST /v1/tools/run: a tool tried from its source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from letta_client.types import ToolReturnMessage
from letta_client.types.agents import ToolExecutionResult as ToolExecuteResponse

from agents.sandbox import configured
from agents.tools import source_runs
from tests.support.api import Api

SOURCE = """
import os

def greet(name: str) -> dict:
    print("greeting")
    return {"text": f"{os.environ['WORD']} {name}", "uid": os.getuid()}
"""


@pytest.fixture(autouse=True)
def sandbox_of_this_test(settings: object, tmp_path: object) -> Iterator[None]:
    settings.SANDBOX_DIR, settings.SANDBOX_POOL = tmp_path, 0  # type: ignore[attr-defined]
    configured.sandbox.cache_clear()
    yield
    configured.sandbox.cache_clear()


def test_a_tool_runs_from_its_source_in_the_sandbox(api: Api) -> None:
    body = {"source_code": SOURCE, "args": {"name": "Ada"}, "env_vars": {"WORD": "hello"}}
    shown = api.post("/tools/run", body).ok()
    assert shown["status"] == "success"
    assert shown["tool_return"] == '{"text": "hello Ada", "uid": 1000}'
    assert shown["stdout"] == ["greeting\n"]
    assert ToolReturnMessage.model_validate(shown).tool_returns


def test_what_a_tool_does_wrong_is_told_and_is_no_error_of_the_server(api: Api) -> None:
    shown = api.post("/tools/run", {"source_code": SOURCE, "args": {"name": "Ada"}}).ok()
    assert (shown["status"], shown["tool_return"]) == ("error", "KeyError: 'WORD'")
    assert "in greet" in shown["stderr"][-1]
    assert api.post("/tools/run", {"source_code": "", "args": {}, "source_type": "perl"}).status == 400
    script = {
        "source_code": "",
        "args": {},
        "source_type": "typescript",
        "npm_requirements": [{"name": "x..", "version": "."}],
    }
    assert "npm requirement" in api.post("/tools/run", script).ok()["tool_return"]


def test_tools_that_are_tried_leave_threads_for_others(api: Api) -> None:
    for _ in range(source_runs.AT_ONCE):
        assert source_runs._places.acquire(blocking=False)
    try:
        assert api.post("/tools/run", {"source_code": SOURCE, "args": {}}).status == 429
    finally:
        for _ in range(source_runs.AT_ONCE):
            source_runs._places.release()


COUNT = """
def count(word: str, agent_state, times: int = 2) -> list:
    \"\"\"Repeat a word.

    Args:
        word: The word.
        times: How often.
    \"\"\"
    print("counting")
    agent_state.memory.update_block_value(label="human", value=word)
    return [word] * times
"""


def test_an_agents_tool_is_run_by_hand_as_the_agent_would(api: Api) -> None:
    tool_id = api.post("/tools/", {"source_code": COUNT}).ok()["id"]
    block = {"label": "human", "value": "?"}
    body = {"model": "scripted/demo", "tool_ids": [tool_id], "memory_blocks": [block]}
    agent_id = api.post("/agents/", body).ok()["id"]
    path = f"/agents/{agent_id}/tools"
    shown = api.post(f"{path}/count/run", {"args": {"word": "a"}}).ok()
    assert (shown["status"], shown["func_return"], shown["stdout"]) == ("success", ["a", "a"], ["counting\n"])
    assert ToolExecuteResponse.model_validate(shown).status == "success"
    assert api.get(f"/agents/{agent_id}/core-memory/blocks/human").ok()["value"] == "a"
    wrong = api.post(f"{path}/count/run", {"args": {"wort": "a"}}).ok()
    assert (wrong["status"], "word" in wrong["func_return"]) == ("error", True)
    edit = {"args": {"label": "human", "new_string": "b"}}
    assert api.post(f"{path}/memory_insert/run", edit).ok()["status"] == "success"
    assert api.get(f"/agents/{agent_id}/core-memory/blocks/human").ok()["value"] == "a\nb"
    assert api.post(f"{path}/memory_rethink/run", {"args": {}}).status == 404


def test_a_typescript_tool_gets_its_arguments_in_the_order_of_its_signature(api: Api) -> None:
    """Not in that of its stored schema, whose keys the database sorts."""
    source = """
    /**
     * Repeat a word.
     * @param word - The word.
     * @param n - How often.
     */
    export function again(word: string, n = 2): string { return word.repeat(n); }
    """
    tool_id = api.post("/tools/", {"source_code": source, "source_type": "typescript"}).ok()["id"]
    agent_id = api.post("/agents/", {"model": "scripted/demo", "tool_ids": [tool_id]}).ok()["id"]
    path = f"/agents/{agent_id}/tools/again/run"
    for args, wanted in (({"n": 3, "word": "ab"}, "ababab"), ({"word": "ab"}, "abab")):
        assert api.post(path, {"args": args}).ok()["func_return"] == wanted
    tried = api.post("/tools/run", {"source_code": source, "source_type": "typescript", "args": {"n": 1, "word": "c"}})
    assert tried.ok()["tool_return"] == "c"
