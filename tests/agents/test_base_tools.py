"""The base tools: what they do, what they answer, and that a call that fails harms nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Organization
from agents import memory, threads
from agents.memory import Actor, NewBlock
from agents.models import Agent, Block, BlockRevision, RevisionActor, Tool
from agents.tools import execute, registry
from agents.tools.arguments import read
from agents.tools.base import ToolContext, ToolError
from agents.tools.execute import Offer
from agents.tools.recall import moment, time_ago
from core.ids import new_id
from providers.types import ToolCall

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SCHEMAS = {
    name: {"json_schema": tool.schema, "tool_type": str(tool.tool_type), "return_char_limit": 50_000}
    for name, tool in registry.BASE_TOOLS.items()
}


@pytest.fixture
def agent(db) -> Agent:
    organization = Organization.objects.create(name="Acme")
    agent = Agent.objects.create(organization=organization, name="Sam", model="scripted/any")
    add_block(agent, "human", value="Name: Ada.")
    return agent


def add_block(agent: Agent, label: str, **fields) -> Block:
    block = memory.create_block(
        agent.organization_id, NewBlock(label=label, **fields), Actor(RevisionActor.API, "user-1")
    )
    memory.attach_blocks(agent.pk, [block])
    return block


def context(agent: Agent) -> ToolContext:
    return ToolContext(
        organization_id=agent.organization_id,
        agent_id=agent.pk,
        conversation_id=new_id("conv"),
        run_id="run-1",
        step_id="step-1",
        now=NOW,
    )


def run(agent: Agent, *calls: tuple[str, object], **offer) -> list[dict]:
    wire = [
        ToolCall(f"call-{n}", name, args if isinstance(args, str) else json.dumps(args))
        for n, (name, args) in enumerate(calls)
    ]
    planned = execute.plan(wire, Offer(**{"tools": SCHEMAS, **offer}), context(agent))
    with transaction.atomic():
        return execute.apply(planned)


def value(agent: Agent, label: str = "human") -> str:
    return Block.objects.get(agents=agent, label=label).value


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ({}, "Name: Ada.\nLikes tea."),
        ({"insert_line": -1}, "Name: Ada.\nLikes tea."),
        ({"insert_line": 0}, "Likes tea.\nName: Ada."),
        ({"insert_line": 1.0}, "Name: Ada.\nLikes tea."),
    ],
)
def test_memory_insert_returns_the_blocks_new_value(agent, at, expected):
    [returned] = run(agent, ("memory_insert", {"label": "human", "new_string": "Likes tea.", **at}))
    assert returned == {
        "tool_call_id": "call-0",
        "name": "memory_insert",
        "content": expected,
        "is_error": False,
        "stdout": None,
        "stderr": None,
    }
    assert value(agent) == expected


def test_parallel_edits_of_one_block_add_up_in_order(agent):
    returns = run(agent, *[("memory_insert", {"label": "human", "new_string": text}) for text in ("One.", "Two.")])
    assert [item["content"] for item in returns] == ["Name: Ada.\nOne.", "Name: Ada.\nOne.\nTwo."]
    assert value(agent) == "Name: Ada.\nOne.\nTwo."


def test_an_edit_says_in_the_history_which_tool_of_which_step_made_it(agent):
    run(agent, ("memory_insert", {"label": "human", "new_string": "x"}))
    revision = BlockRevision.objects.order_by("-version")[0]
    assert (revision.actor, revision.actor_id) == ("agent", agent.pk)
    assert (revision.reason, revision.run_id, revision.step_id) == ("memory_insert", "run-1", "step-1")


def test_a_step_that_does_not_commit_leaves_no_edit(agent):
    planned = execute.plan(
        [ToolCall("c", "memory_insert", '{"label": "human", "new_string": "x"}')],
        Offer(tools=SCHEMAS),
        context(agent),
    )
    with transaction.atomic():
        [returned] = execute.apply(planned)
        transaction.set_rollback(True)
    assert returned["content"] == "Name: Ada.\nx"
    assert value(agent) == "Name: Ada."
    assert BlockRevision.objects.count() == 1


@pytest.mark.parametrize(
    ("tool", "args", "message"),
    [
        ("memory_insert", {"label": "nolabel", "new_string": "x"}, "Block field nolabel does not exist"),
        ("memory_insert", {"label": "human", "new_string": "x", "insert_line": 7}, "has 1 lines"),
        ("memory_insert", {"label": "human", "new_string": "1→ x"}, "line number prefixes"),
        ("memory_replace", {"label": "human", "old_string": "Bob", "new_string": "x"}, "does not occur"),
        ("memory_replace", {"label": "human", "old_string": "a", "new_string": "x"}, "occurs 2 times"),
        ("memory_replace", {"label": "human", "old_string": "", "new_string": "x"}, "is empty"),
        ("memory_replace", {"label": "human", "old_string": "1→ Name", "new_string": "x"}, "line number prefixes"),
        ("memory_rethink", {"label": "a<b", "new_memory": "x"}, "label has 1 to 50 characters"),
        ("core_memory_replace", {"label": "human", "old_content": "Bob", "new_content": "x"}, "does not occur"),
        ("core_memory_append", {"label": "locked", "content": "x"}, "read-only"),
        ("memory_insert", {"label": "small", "new_string": "123456789"}, "11 characters, more than its limit of 10"),
    ],
)
def test_what_cannot_be_done_is_an_error_the_model_can_read(agent, tool, args, message):
    add_block(agent, "locked", value="x", read_only=True)
    add_block(agent, "small", value="1", limit=10)
    [returned] = run(agent, (tool, args))
    assert returned["is_error"] is True
    assert message in returned["content"]
    assert returned["stderr"] == [f"Error executing function {tool}: {returned['content']}"]
    assert value(agent) == "Name: Ada."


def test_an_unknown_block_is_answered_with_those_that_exist(agent):
    add_block(agent, "persona")
    [returned] = run(agent, ("memory_insert", {"label": "nolabel", "new_string": "x"}))
    assert returned["content"] == "Block field nolabel does not exist (available sections = human, persona)"


def test_memory_replace_changes_the_one_occurrence(agent):
    [returned] = run(agent, ("memory_replace", {"label": "human", "old_string": "Ada", "new_string": "Grace"}))
    assert returned["content"] == value(agent) == "Name: Grace."


def test_memory_rethink_rewrites_and_makes_what_is_missing(agent):
    returns = run(
        agent,
        ("memory_rethink", {"label": "human", "new_memory": "New."}),
        ("memory_rethink", {"label": "projects", "new_memory": "P1"}),
    )
    assert [item["content"] for item in returns] == ["New.", "P1"]
    assert memory.labels_in(agent.pk) == ["human", "projects"]
    assert value(agent, "projects") == "P1"


def test_the_old_pair_appends_and_replaces(agent):
    run(
        agent,
        ("core_memory_append", {"label": "human", "content": "Likes tea."}),
        ("core_memory_replace", {"label": "human", "old_content": "tea", "new_content": "coffee"}),
    )
    assert value(agent) == "Name: Ada.\nLikes coffee."


def test_one_failing_call_takes_nothing_from_the_others(agent):
    returns = run(
        agent,
        ("memory_insert", {"label": "human", "new_string": "One."}),
        ("memory_insert", {"label": "nolabel", "new_string": "x"}),
        ("memory_insert", {"label": "human", "new_string": "Two."}),
    )
    assert [item["is_error"] for item in returns] == [False, True, False]
    assert value(agent) == "Name: Ada.\nOne.\nTwo."


def test_a_database_error_of_one_tool_does_not_poison_the_step(agent):
    def divide(*_: object) -> str:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        return "never"

    broken = registry.BaseTool("broken", "letta_core", divide)
    ready = execute.Planned(call=ToolCall("a", "broken", "{}"), context=context(agent), tool=broken)
    good = execute.plan(
        [ToolCall("b", "memory_insert", '{"label": "human", "new_string": "x"}')], Offer(tools=SCHEMAS), context(agent)
    )
    with transaction.atomic():
        first, second = execute.apply([ready, *good])
    assert (first["is_error"], second["is_error"]) == (True, False)
    assert "refused" in first["content"]


def test_text_that_the_database_cannot_hold_is_cleaned(agent):
    [returned] = run(agent, ("memory_insert", r'{"label": "human", "new_string": "a\u0000b\ud800c"}'))
    assert returned["is_error"] is False
    assert value(agent) == "Name: Ada.\na\ufffdb?c"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{}", "memory_insert() missing 2 required arguments: 'label' and 'new_string'"),
        ("", "missing 2 required arguments"),
        ('{"label": "human"', "not valid JSON"),
        ("[1]", "must be one JSON object, not list"),
        ('{"label": 3, "new_string": "x"}', "'label' must be string, not 3"),
        ('{"label": "human", "new_string": "x", "insert_line": "1"}', "'insert_line' must be integer"),
        ('{"label": "human", "new_string": "x", "insert_line": true}', "'insert_line' must be integer"),
        ('{"label": "human", "new_string": "x", "line": 1}', "takes no argument 'line'"),
    ],
)
def test_wrong_arguments_are_explained_to_the_model(agent, arguments, message):
    [returned] = run(agent, ("memory_insert", arguments))
    assert returned["is_error"] is True
    assert message in returned["content"]


def test_null_and_old_control_arguments_are_as_if_absent():
    args = read(
        "memory_insert",
        '{"label": "h", "new_string": "x", "insert_line": null, "request_heartbeat": true, "thinking": "hm"}',
        registry.BASE_TOOLS["memory_insert"].schema,
        {},
    )
    assert args == {"label": "h", "new_string": "x"}


@given(st.text())
def test_no_text_that_a_model_writes_as_arguments_raises_anything_but_a_tool_error(arguments):
    try:
        args = read("memory_insert", arguments, registry.BASE_TOOLS["memory_insert"].schema, {})
    except ToolError as error:
        said = error.message
    else:
        said = " ".join(args)
    assert "memory_insert()" in said or {"label", "new_string"} <= set(said.split())


def test_an_unknown_tool_is_answered_with_those_that_may_be_called(agent):
    tools = {name: SCHEMAS[name] for name in ("conversation_search", "memory_insert")}
    [returned] = run(agent, ("no_such_tool", {}), tools=tools)
    assert returned["content"] == (
        "[ToolConstraintError] Cannot call no_such_tool, valid tools include: ['conversation_search', 'memory_insert']."
    )
    assert (returned["is_error"], returned["stderr"]) == (True, None)


def test_a_refused_call_does_not_run(agent):
    [returned] = run(agent, ("memory_insert", {"label": "human", "new_string": "x"}), refused={"call-0": "Not now."})
    assert (returned["content"], returned["is_error"]) == ("Not now.", True)
    assert value(agent) == "Name: Ada."


def test_a_tool_that_nobody_runs_here_says_so(agent):
    row = {
        "json_schema": {"name": "add", "parameters": {}},
        "tool_type": "letta_files_core",
        "return_char_limit": 50_000,
    }
    [returned] = run(agent, ("add", {"a": 2}), tools={"add": row})
    assert returned["content"] == "add is not available on this server"
    assert returned["is_error"] is True


def test_arguments_that_a_rule_fixes_win(agent):
    [returned] = run(
        agent, ("memory_insert", {"label": "x", "new_string": "y"}), prefilled={"memory_insert": {"label": "human"}}
    )
    assert returned["content"] == "Name: Ada.\ny"


def test_a_rule_that_fixes_an_argument_the_tool_does_not_take_is_a_conflict(agent):
    [planned] = execute.plan(
        [ToolCall("c", "memory_insert", '{"label": "human", "new_string": "y"}')],
        Offer(tools=SCHEMAS, prefilled={"memory_insert": {"colour": "red"}}),
        context(agent),
    )
    assert planned.conflict is True
    assert "colour" in (planned.error or "")


def test_a_long_result_is_cut_with_a_note(agent):
    tools = {"memory_insert": {**SCHEMAS["memory_insert"], "return_char_limit": 12}}
    [returned] = run(agent, ("memory_insert", {"label": "human", "new_string": "Likes tea."}), tools=tools)
    assert returned["content"].startswith("Name: Ada.\nL… [")
    assert "21 characters" in returned["content"]
    assert value(agent) == "Name: Ada.\nLikes tea."


def test_a_small_context_window_cuts_results_further():
    assert execute._limit({"return_char_limit": 50_000}, 8_000) == 6_400
    assert execute._limit({"return_char_limit": 50_000}, 1_000) == 5_000
    assert execute._limit({"return_char_limit": 50_000}, 1_000_000) == 50_000


class Recalled:
    """The part of `Threads` that recall needs, with fixed messages."""

    def __init__(self, *found: threads.FoundMessage) -> None:
        self.found = list(found)
        self.asked: list[threads.MessageSearch] = []

    def query_vectors(self, search: threads.MessageSearch, context: object) -> dict[str, list[float]]:
        return {}

    def search_messages(
        self, search: threads.MessageSearch, vectors: dict[str, list[float]]
    ) -> list[threads.FoundMessage]:
        self.asked.append(search)
        return self.found[: search.limit]


@pytest.fixture
def recall(monkeypatch) -> Recalled:
    recalled = Recalled(
        threads.FoundMessage("message-1", "user", "I like tea", datetime(2026, 11, 24, 9, 30, tzinfo=UTC), 0.5)
    )
    monkeypatch.setattr(threads, "_registered", [recalled])
    return recalled


def test_conversation_search_lists_what_was_said_and_when(agent, recall):
    [returned] = run(agent, ("conversation_search", {"query": " tea ", "roles": ["user"], "end_date": "2026-11-24"}))
    assert json.loads(returned["content"]) == {
        "message": "Showing 1 result:",
        "results": [
            {
                "timestamp": "2026-11-24T09:30:00+00:00",
                "time_ago": "2h ago",
                "role": "user",
                "content": "I like tea",
                "relevance": 0.5,
            }
        ],
    }
    [search] = recall.asked
    assert (search.query, search.roles, search.limit) == ("tea", ("user",), 10)
    assert search.end == datetime(2026, 11, 24, 23, 59, 59, 999999, tzinfo=UTC)
    assert (search.organization_id, search.agent_id) == (agent.organization_id, agent.pk)


def test_conversation_search_that_finds_nothing_says_so(agent, recall):
    recall.found.clear()
    [returned] = run(agent, ("conversation_search", {"query": "tea"}))
    assert (returned["content"], returned["is_error"]) == ("No results found.", False)


def test_conversation_search_explains_a_date_it_cannot_read(agent, recall):
    [returned] = run(agent, ("conversation_search", {"start_date": "yesterday"}))
    assert returned["is_error"] is True
    assert "ISO 8601" in returned["content"]


def test_a_date_without_a_zone_is_in_the_agents_zone():
    at = moment("2026-07-01T09:00", "start_date", "Europe/Paris")
    assert at is not None
    assert at.astimezone(UTC).hour == 7
    assert time_ago(datetime(2026, 11, 22, 12, tzinfo=UTC), NOW) == "2d ago"


def test_send_message_and_finish_confirm(agent):
    returns = run(agent, ("send_message", {"message": "Hi"}), ("memory_finish_edits", {}))
    assert [item["is_error"] for item in returns] == [False, False]


def test_base_tools_are_written_once_for_all_and_keep_their_ids(db):
    registry.sync_base_tools()
    ids = dict(Tool.objects.values_list("name", "id"))
    Tool.objects.filter(name="memory_insert").update(description="old")
    registry.sync_base_tools()
    assert dict(Tool.objects.values_list("name", "id")) == ids
    assert set(ids) == set(registry.BASE_TOOLS)
    row = Tool.objects.get(name="memory_insert")
    assert row.description == registry.BASE_TOOLS["memory_insert"].schema["description"]
    assert (row.tool_type, row.tags, row.enable_parallel_execution) == (
        "letta_sleeptime_core",
        ["letta_sleeptime_core"],
        False,
    )
    assert Tool.objects.get(name="conversation_search").enable_parallel_execution is True


def test_each_agent_type_gets_its_tools_and_rules():
    assert registry.default_tool_names("letta_v1_agent") == ["conversation_search", "memory_insert", "memory_replace"]
    assert registry.default_tool_names("react_agent") == []
    assert registry.default_tool_rules("letta_v1_agent", ["memory_insert"]) == []
    rules = registry.default_tool_rules("memgpt_agent", registry.default_tool_names("memgpt_agent"))
    assert {rule["tool_name"]: rule["type"] for rule in rules} == {
        "send_message": "exit_loop",
        "conversation_search": "continue_loop",
        "core_memory_append": "continue_loop",
        "core_memory_replace": "continue_loop",
    }


@pytest.mark.parametrize("name", sorted(registry.BASE_TOOLS))
def test_every_schema_describes_its_tool_and_each_argument(name):
    schema = registry.BASE_TOOLS[name].schema
    assert schema["name"] == name
    assert schema["description"]
    parameters = schema["parameters"]
    assert all(argument["description"] for argument in parameters["properties"].values())
    assert set(parameters["required"]) <= set(parameters["properties"])
