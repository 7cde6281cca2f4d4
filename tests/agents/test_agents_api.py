"""/v1/agents as the SDK uses it: the shape of AgentState, what creating and changing does, and how agents are found."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import AgentState

from agents.models import Agent, AgentBlock, BlockRevision
from agents.threads import threads
from tests.support.api import Api
from tests.support.contract import contract, keys

BLOCKS = [{"label": "human", "value": "Name: Ada."}, {"label": "persona", "value": "I am Sam."}]


@pytest.fixture
def agent(api: Api) -> dict[str, Any]:
    return api.post("/agents/", {"name": "Sam", "model": "scripted/demo", "memory_blocks": BLOCKS, "tags": ["a"]}).ok()


def test_a_created_agent_has_the_shape_of_the_contract(api: Api, agent: dict[str, Any]) -> None:
    shown, wanted = keys(agent), contract("agent")
    for own in ("metadata", "embedding_config"):
        shown.pop(own), wanted.pop(own)
    assert shown == wanted
    assert [keys(block) for block in agent["blocks"]] == [contract("block")] * 2
    assert keys(agent["tools"][0]) == contract("tool")


def test_a_created_agent_reads_as_the_sdks_type(agent: dict[str, Any]) -> None:
    state = AgentState.model_validate(agent, strict=False)
    assert state.memory.blocks[0].label == "human"
    assert [block.value for block in state.blocks] == ["Name: Ada.", "I am Sam."]
    assert {tool.name for tool in state.tools} == {"conversation_search", "memory_insert", "memory_replace"}
    assert state.llm_config.handle == state.model == "scripted/demo"
    assert state.tags == ["a"]
    assert state.system
    assert len(state.message_ids or []) == 1


def test_a_retrieved_agent_has_no_relationships_unless_asked(api: Api, agent: dict[str, Any]) -> None:
    bare = api.get(f"/agents/{agent['id']}").ok()
    assert set(bare) == set(contract("agent.bare"))
    assert (bare["blocks"], bare["tools"], bare["tags"], bare["memory"]["blocks"]) == ([], [], [], [])
    full = api.get(f"/agents/{agent['id']}", include=["agent.blocks", "agent.tools", "agent.tags"]).ok()
    assert full == agent | {"updated_at": full["updated_at"]}
    old = api.get(f"/agents/{agent['id']}", include_relationships=["memory", "tags"]).ok()
    assert (old["blocks"], old["tags"], old["tools"]) == (agent["blocks"], ["a"], [])


def test_the_memory_shows_the_same_blocks(api: Api, agent: dict[str, Any]) -> None:
    memory = api.get(f"/agents/{agent['id']}/core-memory").ok()
    assert memory == agent["memory"]
    assert memory["blocks"] == agent["blocks"]


def test_an_agent_needs_a_model(api: Api, settings: Any) -> None:
    settings.DEFAULT_MODEL = ""
    answer = api.post("/agents/", {"name": "x"})
    assert answer.status == 400
    assert "model" in answer.detail


def test_an_agent_without_a_model_gets_the_default_one(api: Api, settings: Any) -> None:
    settings.DEFAULT_MODEL = "scripted/demo"
    assert api.post("/agents/", {}).ok()["model"] == "scripted/demo"


@pytest.mark.parametrize("handle", ["scripted/nope", "nobody/gpt", "nonsense"])
def test_an_unknown_model_is_400_naming_those_that_exist(api: Api, handle: str) -> None:
    answer = api.post("/agents/", {"model": handle})
    assert answer.status == 400
    assert "scripted/demo" in answer.detail


def test_a_default_name_and_an_own_system_prompt(api: Api) -> None:
    made = api.post("/agents/", {"model": "scripted/demo", "system": "Be brief."}).ok()
    assert made["name"]
    assert made["system"] == "Be brief."


def test_base_tools_can_be_left_out_and_others_named(api: Api) -> None:
    bare = api.post("/agents/", {"model": "scripted/demo", "include_base_tools": False}).ok()
    assert bare["tools"] == []
    named = api.post("/agents/", {"model": "scripted/demo", "tools": ["memory_rethink", "memory_insert"]}).ok()
    assert sorted(tool["name"] for tool in named["tools"]) == [
        "conversation_search",
        "memory_insert",
        "memory_replace",
        "memory_rethink",
    ]
    assert api.post("/agents/", {"model": "scripted/demo", "tools": ["no_such"]}).status == 404


def test_an_old_agent_type_gets_its_tools_and_rules(api: Api) -> None:
    made = api.post("/agents/", {"model": "scripted/demo", "agent_type": "memgpt_agent"}).ok()
    assert "send_message" in {tool["name"] for tool in made["tools"]}
    assert {"tool_name": "send_message", "type": "exit_loop"}.items() <= next(
        rule for rule in made["tool_rules"] if rule["tool_name"] == "send_message"
    ).items()
    plain = {"model": "scripted/demo", "agent_type": "memgpt_agent", "include_base_tool_rules": False}
    assert api.post("/agents/", plain).ok()["tool_rules"] == []


def test_every_kind_of_tool_rule_is_kept_as_it_was_sent(api: Api) -> None:
    rules = [
        {"type": "run_first", "tool_name": "a", "args": {"x": 1}},
        {"type": "exit_loop", "tool_name": "a"},
        {"type": "continue_loop", "tool_name": "b"},
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["b"]},
        {"type": "parent_last_tool", "tool_name": "a", "children": ["b"]},
        {"type": "conditional", "tool_name": "a", "child_output_mapping": {"yes": "b"}},
        {"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2},
        {"type": "required_before_exit", "tool_name": "a"},
        {"type": "requires_approval", "tool_name": "a"},
    ]
    made = api.post("/agents/", {"model": "scripted/demo", "tool_rules": rules}).ok()
    assert [rule.items() <= shown.items() for rule, shown in zip(rules, made["tool_rules"], strict=True)] == [True] * 9
    AgentState.model_validate(made)


def test_settings_are_shown_complete_and_changed_one_by_one(api: Api, agent: dict[str, Any]) -> None:
    assert agent["model_settings"] == {
        "max_output_tokens": agent["model_settings"]["max_output_tokens"],
        "parallel_tool_calls": True,
        "provider_type": "openai",
        "temperature": 1.0,
        "reasoning": {"reasoning_effort": "minimal"},
        "response_format": None,
        "strict": False,
    }
    sent = {"provider_type": "openai", "temperature": 0.2, "max_output_tokens": 77}
    api.patch(f"/agents/{agent['id']}", {"model_settings": sent}).ok()
    later = api.patch(f"/agents/{agent['id']}", {"model_settings": {"provider_type": "openai", "temperature": 0}}).ok()
    assert (later["model_settings"]["temperature"], later["model_settings"]["max_output_tokens"]) == (0, 77)
    assert (later["llm_config"]["temperature"], later["llm_config"]["max_tokens"]) == (0, 77)
    assert Agent.objects.get(pk=agent["id"]).model_settings == {**sent, "temperature": 0}


def test_the_deprecated_spellings_still_set_the_model(api: Api) -> None:
    config = {"provider_name": "scripted", "model": "demo", "model_endpoint_type": "openai", "context_window": 5000}
    made = api.post("/agents/", {"llm_config": config, "max_tokens": 9, "parallel_tool_calls": False}).ok()
    assert made["model"] == "scripted/demo"
    assert made["llm_config"]["context_window"] == 5000
    assert (made["model_settings"]["max_output_tokens"], made["model_settings"]["parallel_tool_calls"]) == (9, False)


def test_compaction_settings_are_shown_with_their_defaults(api: Api, agent: dict[str, Any]) -> None:
    assert set(agent["compaction_settings"]) == set(contract("agent")["compaction_settings"])
    changed = api.patch(f"/agents/{agent['id']}", {"compaction_settings": {"mode": "all"}}).ok()
    assert changed["compaction_settings"]["mode"] == "all"
    assert Agent.objects.get(pk=agent["id"]).compaction_settings == {"mode": "all"}


def test_initial_messages_stand_in_the_first_context(api: Api) -> None:
    first = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    made = api.post("/agents/", {"model": "scripted/demo", "initial_message_sequence": first}).ok()
    assert len(made["message_ids"]) == 3


def test_only_what_is_sent_is_changed(api: Api, agent: dict[str, Any]) -> None:
    changed = api.patch(f"/agents/{agent['id']}", {"description": "a test agent", "metadata": {"k": "v"}}).ok()
    assert (changed["description"], changed["metadata"]) == ("a test agent", {"k": "v"})
    same = set(agent) - {"description", "metadata", "updated_at"}
    assert {name: changed[name] for name in same} == {name: agent[name] for name in same}
    cleared = api.patch(f"/agents/{agent['id']}", {"description": None}).ok()
    assert (cleared["description"], cleared["metadata"]) == (None, {"k": "v"})


@pytest.mark.parametrize(
    ("change", "grows"),
    [
        ({"system": "Be brief."}, True),
        ({"tool_rules": [{"type": "exit_loop", "tool_name": "a"}]}, True),
        ({"timezone": "Europe/Zurich"}, True),
        ({"name": "other", "tags": ["b"], "description": "x"}, False),
    ],
)
def test_the_prompt_is_compiled_anew_only_for_what_it_shows(
    api: Api, agent: dict[str, Any], change: dict[str, Any], grows: bool
) -> None:
    before = Agent.objects.get(pk=agent["id"]).prompt_version
    api.patch(f"/agents/{agent['id']}", change).ok()
    assert (Agent.objects.get(pk=agent["id"]).prompt_version > before) == grows


def test_tools_and_blocks_can_be_set_whole(api: Api, agent: dict[str, Any]) -> None:
    block = api.post("/blocks/", {"label": "notes", "value": ""}).ok()
    tool = next(tool for tool in agent["tools"] if tool["name"] == "memory_insert")
    changed = api.patch(f"/agents/{agent['id']}", {"tool_ids": [tool["id"]], "block_ids": [block["id"]]}).ok()
    assert [tool["name"] for tool in changed["tools"]] == ["memory_insert"]
    assert [block["label"] for block in changed["blocks"]] == ["notes"]


def test_two_blocks_of_one_label_are_refused_and_nothing_is_left(api: Api) -> None:
    twice = [{"label": "human", "value": "a"}, {"label": "human", "value": "b"}]
    answer = api.post("/agents/", {"model": "scripted/demo", "memory_blocks": twice})
    assert answer.status == 409
    assert "human" in answer.detail
    assert (Agent.objects.count(), BlockRevision.objects.count()) == (0, 0)


def test_what_this_version_cannot_keep_is_refused_not_dropped(api: Api) -> None:
    answer = api.post("/agents/", {"model": "scripted/demo", "folder_ids": ["hidden-value"]})
    assert answer.status == 422
    assert answer.detail.startswith("folder_ids: ")
    assert "hidden-value" not in answer.detail
    assert api.post("/agents/", {"model": "scripted/demo", "secrets": {}, "identity_ids": []}).status == 200


def test_a_deleted_agent_is_gone_and_its_blocks_stay(api: Api, agent: dict[str, Any]) -> None:
    gone = api.delete(f"/agents/{agent['id']}").ok()
    assert gone == {"message": f"Agent id={agent['id']} successfully deleted"}
    assert api.delete(f"/agents/{agent['id']}").status == 404
    assert api.get(f"/blocks/{agent['blocks'][0]['id']}").status == 200
    assert not AgentBlock.objects.exists()


def test_recompile_gives_the_system_message(api: Api, agent: dict[str, Any]) -> None:
    text = api.post(f"/agents/{agent['id']}/recompile").ok()
    assert "Name: Ada." in text
    assert api.post(f"/agents/{agent['id']}/recompile?dry_run=true&update_timestamp=true").status == 200


def test_the_context_overview_has_the_shape_of_the_contract(api: Api, agent: dict[str, Any]) -> None:
    shown = api.get(f"/agents/{agent['id']}/context").ok()
    assert set(shown) == set(contract("context"))
    assert set(shown["messages"][0]) == set(contract("context.message"))
    assert set(shown["functions_definitions"][0]["function"]) == {"name", "description", "parameters", "strict"}
    assert "Name: Ada." in shown["core_memory"]
    assert shown["num_messages"] == len(agent["message_ids"])
    parts = [value for name, value in shown.items() if name.startswith("num_tokens_")]
    assert shown["context_window_size_current"] == sum(parts) > 0


def test_message_ids_are_the_conversations(api: Api, agent: dict[str, Any]) -> None:
    assert api.get(f"/agents/{agent['id']}").ok()["message_ids"] == agent["message_ids"]
    assert threads().message_ids([agent["id"]]) == {agent["id"]: agent["message_ids"]}


class TestFinding:
    @pytest.fixture
    def three(self, api: Api) -> list[str]:
        tags = [["x"], ["x", "y"], ["y"]]
        return [
            api.post("/agents/", {"name": f"Agent {n}", "model": "scripted/demo", "tags": tags[n]}).ok()["id"]
            for n in range(3)
        ]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, [2, 1, 0]),
            ({"order": "asc"}, [0, 1, 2]),
            ({"ascending": True}, [0, 1, 2]),
            ({"name": "Agent 1"}, [1]),
            ({"query_text": "AGENT"}, [2, 1, 0]),
            ({"query_text": "t 2"}, [2]),
            ({"tags": ["x"]}, [1, 0]),
            ({"tags": ["x", "y"]}, [2, 1, 0]),
            ({"tags": ["x", "y"], "match_all_tags": True}, [1]),
            ({"limit": 1}, [2]),
            ({"order_by": "updated_at"}, [2, 1, 0]),
            ({"sort_by": "updated_at", "order": "asc"}, [0, 1, 2]),
            ({"last_stop_reason": "end_turn"}, []),
            ({"template_id": "template-1"}, []),
        ],
    )
    def test_filters_and_orders(self, api: Api, three: list[str], query: dict[str, Any], found: list[int]) -> None:
        assert [agent["id"] for agent in api.get("/agents/", **query).ok()] == [three[n] for n in found]

    def test_by_the_time_of_the_last_run(self, api: Api, three: list[str]) -> None:
        for n, hour in ((0, 5), (2, 4)):
            api.patch(f"/agents/{three[n]}", {"last_run_completion": f"2026-11-24T0{hour}:00:00Z"}).ok()
        found = [agent["id"] for agent in api.get("/agents/", order_by="last_run_completion").ok()]
        assert found == [three[0], three[2], three[1]]

    def test_pages_by_cursor(self, api: Api, three: list[str]) -> None:
        first = api.get("/agents/", limit=2).ok()
        assert [agent["id"] for agent in first] == [three[2], three[1]]
        assert [a["id"] for a in api.get("/agents/", limit=2, after=first[-1]["id"]).ok()] == [three[0]]
        assert [a["id"] for a in api.get("/agents/", limit=2, before=three[0]).ok()] == [three[2], three[1]]
        assert api.get("/agents/", after=three[0]).ok() == []
        assert api.get("/agents/", after="agent-00000000-0000-4000-8000-000000000000").status == 404

    def test_counts_with_the_same_filters(self, api: Api, three: list[str]) -> None:
        assert api.get("/agents/count").ok() == 3
        assert api.get("/agents/count", tags=["x"]).ok() == 2

    def test_tags_are_listed_once_each(self, api: Api, three: list[str]) -> None:
        assert api.get("/tags/").ok() == ["x", "y"]
        assert api.get("/tags/", order="desc").ok() == ["y", "x"]
        assert api.get("/tags/", after="x").ok() == ["y"]
        assert api.get("/tags/", before="y").ok() == ["x"]
        assert api.get("/tags/", name="Y").ok() == ["y"]

    def test_another_organization_finds_none_of_them(self, their_api: Api, three: list[str]) -> None:
        assert their_api.get("/agents/").ok() == []
        assert their_api.get("/agents/count").ok() == 0
        assert their_api.get("/tags/").ok() == []
        assert their_api.get("/agents/", after=three[0]).status == 404
        for call in (their_api.get, their_api.delete):
            assert call(f"/agents/{three[0]}").status == 404
        assert their_api.patch(f"/agents/{three[0]}", {"name": "mine"}).status == 404


class TestQueries:
    """Their number is fixed: it does not grow with the agents, blocks or tools."""

    def make(self, api: Api, count: int) -> str:
        blocks = [{"label": f"b{n}", "value": "v"} for n in range(count)]
        return str(api.post("/agents/", {"model": "scripted/demo", "memory_blocks": blocks}).ok()["id"])

    @pytest.mark.parametrize("count", [1, 8])
    def test_create(self, api: Api, django_assert_max_num_queries: Any, count: int) -> None:
        with django_assert_max_num_queries(20):
            self.make(api, count)

    def test_retrieve(self, api: Api, django_assert_max_num_queries: Any) -> None:
        agent_id = self.make(api, 2)
        with django_assert_max_num_queries(3):
            api.get(f"/agents/{agent_id}").ok()

    @pytest.mark.parametrize("count", [1, 6])
    def test_list(self, api: Api, django_assert_max_num_queries: Any, count: int) -> None:
        for _ in range(count):
            self.make(api, 2)
        with django_assert_max_num_queries(3):
            api.get("/agents/").ok()
        with django_assert_max_num_queries(6):
            include = ["agent.blocks", "agent.tools", "agent.tags", "agent.pending_approval"]
            assert len(api.get("/agents/", include=include).ok()) == count
