"""Archival memory: stored with vectors or without, found by meaning or by words, never across organizations."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from accounts.models import Organization
from agents import passages
from agents.model_calls import CallContext
from agents.models import Agent, Archive, Passage
from agents.passages import Embedded, NewPassage, Search
from agents.tools import execute, registry
from agents.tools.base import ToolContext
from core.errors import Invalid, NotFound
from core.pagination import Cursor
from providers.types import ToolCall

pytestmark = pytest.mark.django_db

EMBEDDING = "scripted/hashing-384"
AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


def make_agent(organization: Organization, name: str = "Sam", embedding: str | None = EMBEDDING) -> Agent:
    return Agent.objects.create(organization=organization, name=name, model="scripted/any", embedding=embedding)


@pytest.fixture
def agent(organization) -> Agent:
    return make_agent(organization)


@pytest.fixture
def wordy(organization, settings) -> Agent:
    """An agent without any embedding model."""
    settings.DEFAULT_EMBEDDING = ""
    return make_agent(organization, "Wordy", None)


def context(agent: Agent) -> CallContext:
    return CallContext(organization_id=agent.organization_id, call_type="embedding", agent_id=agent.pk)


def insert(agent: Agent, *texts: str, **fields) -> list[Passage]:
    return passages.insert_passages(agent, [NewPassage(text=text, **fields) for text in texts], context(agent), None)


def search(agent: Agent, query: str, **fields) -> list[str]:
    wanted = Search(organization_id=agent.organization_id, agent_id=agent.pk, query=query, **fields)
    return [hit.passage.text for hit in passages.search(wanted, context(agent))]


def test_the_first_passage_opens_the_agents_archive_and_later_ones_go_there_too(agent):
    insert(agent, "one")
    insert(agent, "two", "three")
    [archive] = Archive.objects.all()
    assert (archive.name, archive.embedding, archive.embedding_dim) == ("Sam's Archive", EMBEDDING, 384)
    assert list(archive.agents.values_list("pk", flat=True)) == [agent.pk]
    assert archive.passages.exclude(embedding=None).count() == 3


def test_a_new_passage_makes_the_prompt_out_of_date(agent):
    insert(agent, "one")
    agent.refresh_from_db()
    assert agent.prompt_version == 2


def test_the_nearest_passage_comes_first(agent):
    insert(agent, "The capital of France is Paris.", "Bananas are yellow.")
    assert search(agent, "capital of France", limit=1) == ["The capital of France is Paris."]
    hits = passages.search(
        Search(organization_id=agent.organization_id, agent_id=agent.pk, query="yellow bananas"), context(agent)
    )
    assert hits[0].passage.text == "Bananas are yellow."
    assert hits[0].score > hits[1].score


def test_tags_narrow_before_the_limit_not_after_it(agent):
    insert(agent, *[f"Paris is a fine city, number {n}" for n in range(5)])
    insert(agent, "Paris", tags=["geo", "old"])
    assert search(agent, "fine city number", tags=["geo"], limit=1) == ["Paris"]
    assert search(agent, "Paris", tags=["geo", "new"], limit=1) == ["Paris"]
    assert search(agent, "Paris", tags=["geo", "new"], match_all_tags=True) == []
    assert search(agent, "Paris", tags=["old", "geo"], match_all_tags=True) == ["Paris"]


def test_time_narrows_too(agent):
    for day in range(3):
        insert(agent, f"Note of day {day}", created_at=AT + timedelta(days=day))
    found = search(agent, "note", start=AT + timedelta(days=1), end=AT + timedelta(days=1, hours=1))
    assert found == ["Note of day 1"]


def test_without_an_embedding_model_words_are_searched(wordy):
    insert(wordy, "The capital of France is Paris.", "Bananas are yellow.")
    assert Archive.objects.get().embedding is None
    assert search(wordy, "What is the capital of France?") == ["The capital of France is Paris."]
    assert search(wordy, '"yellow bananas"') == []
    assert search(wordy, "bananas -yellow") == []
    assert search(wordy, "!&|") == []


def test_without_a_query_the_newest_come_first(agent):
    for day in range(3):
        insert(agent, f"day {day}", created_at=AT + timedelta(days=day))
    assert search(agent, "", limit=2) == ["day 2", "day 1"]


def test_an_organization_is_searched_whole_and_no_other(organization, agent, wordy):
    insert(agent, "Paris by vector")
    insert(wordy, "Paris by word")
    other = make_agent(Organization.objects.create(name="Other"))
    insert(other, "Paris of others")
    hits = passages.search(Search(organization_id=organization.pk, query="Paris"), context(agent))
    assert {hit.passage.text for hit in hits} == {"Paris by vector", "Paris by word"}
    assert (
        passages.search(
            Search(organization_id=organization.pk, archive_id=str(passages.archive_of(other.pk).pk), query="Paris"),
            context(agent),
        )
        == []
    )


def test_a_vector_of_another_model_than_the_archives_is_left_out(agent):
    insert(agent, "one")
    [passage] = passages.store(agent.pk, [NewPassage(text="Paris")], Embedded("other/model", [[1.0, 0.0]]), None)
    assert passage.embedding is None
    assert search(agent, "Paris", limit=1) == ["Paris"]


@pytest.mark.parametrize("text", ["", "  ", "word " * 10_000])
def test_an_empty_or_oversized_passage_is_refused(agent, text):
    with pytest.raises(Invalid):
        insert(agent, text)
    assert not Archive.objects.exists()


def test_pages_of_passages_follow_their_cursor_and_their_words(agent):
    stored = insert(agent, *[f"note {n}" for n in range(5)])
    first = passages.list_passages(agent.pk, Cursor(limit=2, order="asc"))
    rest = passages.list_passages(agent.pk, Cursor(after=first[-1].pk, limit=10, order="asc"))
    assert {p.pk for p in [*first, *rest]} == {p.pk for p in stored}
    assert [p.text for p in passages.list_passages(agent.pk, Cursor(), "NOTE 3")] == ["note 3"]


def test_a_passage_is_deleted_only_by_its_own(agent):
    [passage] = insert(agent, "one")
    other = make_agent(agent.organization, "Other")
    stranger = Organization.objects.create(name="Stranger")
    with pytest.raises(NotFound):
        passages.delete_passage(agent.organization_id, passage.pk, agent_id=other.pk)
    with pytest.raises(NotFound):
        passages.delete_passage(stranger.pk, passage.pk)
    passages.delete_passage(agent.organization_id, passage.pk, agent_id=agent.pk)
    assert not Passage.objects.exists()


def call(agent: Agent, tool: str, **args) -> dict:
    base = registry.BASE_TOOLS[tool]
    row = {"json_schema": base.schema, "tool_type": str(base.tool_type), "return_char_limit": 50_000}
    about = ToolContext(
        organization_id=agent.organization_id, agent_id=agent.pk, conversation_id="conv-1", now=datetime.now(UTC)
    )
    planned = execute.plan([ToolCall("c", tool, json.dumps(args))], execute.Offer(tools={tool: row}), about)
    with transaction.atomic():
        [returned] = execute.apply(planned)
    return returned


def test_the_tools_store_and_find(agent):
    stored = call(agent, "archival_memory_insert", content="Ada was born in 1815.", tags=["facts"])
    assert (stored["is_error"], Passage.objects.get().tags) == (False, ["facts"])
    assert Passage.objects.get().pk in stored["content"]
    found = call(agent, "archival_memory_search", query="When was Ada born?", tags=["facts"])
    [item] = json.loads(found["content"])["results"]
    assert (item["content"], item["tags"]) == ("Ada was born in 1815.", ["facts"])
    assert call(agent, "archival_memory_search", query="x", tags=["none"])["content"] == "No results found."


def test_the_tool_stores_nothing_when_the_step_does_not_commit(agent):
    base = registry.BASE_TOOLS["archival_memory_insert"]
    about = ToolContext(
        organization_id=agent.organization_id, agent_id=agent.pk, conversation_id="conv-1", now=datetime.now(UTC)
    )
    prepared = base.prepare(about, {"content": "x"})
    with transaction.atomic():
        base.apply(about, {"content": "x"}, prepared)
        transaction.set_rollback(True)
    assert not Passage.objects.exists()


def test_an_embedding_model_that_is_gone_is_an_error_the_model_can_read(organization):
    lost = make_agent(organization, "Lost", "nowhere/model")
    returned = call(lost, "archival_memory_insert", content="x")
    assert returned["is_error"] is True
    assert "nowhere" in returned["content"]
