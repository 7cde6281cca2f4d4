"""Blocks change in one place: limits, versions, revisions, and the prompts that show them."""

from __future__ import annotations

import pytest

from accounts.models import Organization
from agents import memory
from agents.memory import Actor, NewBlock
from agents.models import Agent, AgentBlock, Block, BlockRevision, RevisionActor
from core.errors import Conflict, Invalid, NotFound

pytestmark = pytest.mark.django_db

API = Actor(RevisionActor.API, "user-1", "test")


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


def make_agent(organization: Organization, name: str = "Sam") -> Agent:
    return Agent.objects.create(organization=organization, name=name, model="scripted/any")


def make_block(organization: Organization, label: str = "human", **fields) -> Block:
    return memory.create_block(organization.pk, NewBlock(label=label, **fields), API)


def prompt_version(agent: Agent) -> int:
    return Agent.objects.values_list("prompt_version", flat=True).get(pk=agent.pk)


def test_a_new_block_starts_at_version_1_with_a_revision_that_says_who_made_it(organization):
    block = make_block(organization, value="Ada")
    revision = BlockRevision.objects.get(block=block)
    assert (block.version, revision.version, revision.value) == (1, 1, "Ada")
    assert (revision.actor, revision.actor_id, revision.reason) == ("api", "user-1", "test")


def test_a_change_writes_a_new_version_and_keeps_the_old_one(organization):
    block = make_block(organization, value="Ada")
    changed = memory.change_block(block.pk, organization.pk, {"value": "Ada Lovelace"}, API)
    assert changed.version == 2
    assert list(BlockRevision.objects.filter(block=block).values_list("version", "value")) == [
        (2, "Ada Lovelace"),
        (1, "Ada"),
    ]


def test_a_change_to_what_is_there_already_changes_nothing(organization):
    agent, block = make_agent(organization), make_block(organization, value="Ada")
    memory.attach_blocks(agent.pk, [block])
    before = prompt_version(agent)
    assert memory.change_block(block.pk, organization.pk, {"value": "Ada"}, API).version == 1
    assert prompt_version(agent) == before


def test_a_shared_block_makes_every_connected_agent_and_no_other_recompile(organization, django_assert_num_queries):
    block = make_block(organization, value="Ada")
    agents = [make_agent(organization, name) for name in "abc"]
    other = make_agent(organization, "other")
    for agent in agents:
        memory.attach_blocks(agent.pk, [block])
    before = [prompt_version(agent) for agent in [*agents, other]]
    with django_assert_num_queries(6):  # savepoint, lock, block, revision, all agents at once, release
        memory.change_block(block.pk, organization.pk, {"value": "Grace"}, API)
    after = [prompt_version(agent) for agent in [*agents, other]]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 0]


def test_what_the_prompt_does_not_show_recompiles_nothing(organization):
    agent, block = make_agent(organization), make_block(organization)
    memory.attach_blocks(agent.pk, [block])
    before = prompt_version(agent)
    memory.change_block(block.pk, organization.pk, {"metadata": {"a": 1}, "tags": ["x"]}, API)
    assert prompt_version(agent) == before


@pytest.mark.parametrize("change", [{"value": "x" * 11}, {"limit": 3}])
def test_a_value_over_its_limit_is_refused_with_both_numbers(organization, change):
    block = make_block(organization, value="12345", limit=10)
    with pytest.raises(Invalid) as refused:
        memory.change_block(block.pk, organization.pk, change, API)
    size, limit = (11, 10) if "value" in change else (5, 3)
    assert f"{size} characters" in refused.value.message
    assert f"limit of {limit}" in refused.value.message
    assert Block.objects.get(pk=block.pk).value == "12345"


def test_limit_and_value_may_grow_together(organization):
    block = make_block(organization, value="12345", limit=5)
    changed = memory.change_block(block.pk, organization.pk, {"value": "123456", "limit": 6}, API)
    assert (changed.value, changed.limit) == ("123456", 6)


def test_a_stale_version_is_a_conflict(organization):
    block = make_block(organization)
    memory.change_block(block.pk, organization.pk, {"value": "a"}, API, expected_version=1)
    with pytest.raises(Conflict, match="version 2, not 1"):
        memory.change_block(block.pk, organization.pk, {"value": "b"}, API, expected_version=1)


def test_a_block_of_another_organization_does_not_exist(organization):
    block = make_block(organization)
    other = Organization.objects.create(name="Other")
    with pytest.raises(NotFound):
        memory.change_block(block.pk, other.pk, {"value": "x"}, API)
    with pytest.raises(NotFound):
        memory.attach_block(make_agent(other).pk, block.pk, other.pk)
    with pytest.raises(NotFound):
        memory.delete_block(block.pk, other.pk)


def test_labels_are_unique_within_an_agent(organization):
    agent = make_agent(organization)
    human, twin, persona = (make_block(organization, label) for label in ("human", "human", "persona"))
    memory.attach_blocks(agent.pk, [human, persona])
    with pytest.raises(Conflict, match="human"):
        memory.attach_block(agent.pk, twin.pk, organization.pk)
    with pytest.raises(Conflict, match="human"):
        memory.change_block(persona.pk, organization.pk, {"label": "human"}, API)
    assert Block.objects.get(pk=persona.pk).label == "persona"


def test_a_new_label_reaches_the_agents(organization):
    agent, block = make_agent(organization), make_block(organization)
    memory.attach_blocks(agent.pk, [block])
    memory.change_block(block.pk, organization.pk, {"label": "user"}, API)
    assert memory.labels_in(agent.pk) == ["user"]


@pytest.mark.parametrize("label", ["", "x" * 51, "a<b", "a\nb"])
def test_a_label_that_would_break_the_prompt_is_refused(organization, label):
    with pytest.raises(Invalid, match="label"):
        make_block(organization, label)


def test_attaching_twice_is_attaching_once_and_detaching_says_whether_it_was(organization):
    agent, block = make_agent(organization), make_block(organization)
    memory.attach_block(agent.pk, block.pk, organization.pk)
    version = prompt_version(agent)
    memory.attach_block(agent.pk, block.pk, organization.pk)
    assert prompt_version(agent) == version
    assert AgentBlock.objects.filter(agent=agent).count() == 1
    assert memory.detach_block(agent.pk, block.pk) is True
    assert prompt_version(agent) == version + 1
    assert memory.detach_block(agent.pk, block.pk) is False


def test_an_earlier_version_comes_back_as_a_new_one(organization):
    block = make_block(organization, value="first")
    memory.change_block(block.pk, organization.pk, {"value": "second"}, API)
    restored = memory.restore_revision(block.pk, organization.pk, 1, API)
    assert (restored.value, restored.version) == ("first", 3)
    with pytest.raises(NotFound):
        memory.restore_revision(block.pk, organization.pk, 9, API)


def test_a_deleted_block_leaves_the_prompts(organization):
    agent, block = make_agent(organization), make_block(organization)
    memory.attach_blocks(agent.pk, [block])
    before = prompt_version(agent)
    memory.delete_block(block.pk, organization.pk)
    assert prompt_version(agent) == before + 1
    assert memory.labels_in(agent.pk) == []


def test_an_unknown_field_is_refused(organization):
    with pytest.raises(Invalid, match="colour"):
        memory.change_block(make_block(organization).pk, organization.pk, {"colour": "red"}, API)
