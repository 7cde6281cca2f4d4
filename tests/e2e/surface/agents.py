"""`client.agents`, `client.blocks` and `client.tags`, method by method."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from letta_client import NotFoundError

from tests.e2e.surface.world import World, calls


@calls("agents.create")
def agents_create(world: World) -> Any:
    made = world.new_agent(name="made", description="as asked", metadata={"a": 1}, timezone="Europe/Berlin")
    assert (made.name, made.description, made.metadata, made.timezone) == (
        "made",
        "as asked",
        {"a": 1},
        "Europe/Berlin",
    )
    assert {block.label for block in made.memory.blocks} == {"human", "persona"}
    return made


@calls("agents.retrieve")
def agents_retrieve(world: World) -> Any:
    found = world.client.agents.retrieve(world.agent.id, include=["agent.blocks", "agent.tools", "agent.tags"])
    assert {tool.name for tool in found.tools} >= {"memory_insert"}
    assert found.tags == ["surface"]
    return found


@calls("agents.update")
def agents_update(world: World) -> Any:
    made = world.new_agent()
    changed = world.client.agents.update(made.id, name="renamed", tags=["x", "y"], system="Be kind.")
    assert (changed.name, sorted(changed.tags), changed.system) == ("renamed", ["x", "y"], "Be kind.")
    return changed


@calls("agents.list")
def agents_list(world: World) -> Any:
    for name in ("one", "two", "three"):
        world.new_agent(name=name, tags=["listed"])
    page = world.client.agents.list(tags=["listed"], limit=2, order="asc")
    assert [agent.name for agent in page.items] == ["one", "two"]
    assert [agent.name for agent in page] == ["one", "two", "three"]
    return page


@calls("agents.delete")
def agents_delete(world: World) -> Any:
    made = world.new_agent()
    answer = world.client.agents.delete(made.id)
    with pytest.raises(NotFoundError):
        world.client.agents.retrieve(made.id)
    return answer


@calls("agents.recompile")
def agents_recompile(world: World) -> Any:
    text = world.client.agents.recompile(world.agent.id, dry_run=True)
    assert "I am brief." in text
    return text


@calls("agents.export_file")
def agents_export_file(world: World) -> Any:
    assert world.turn
    text = world.client.agents.export_file(world.agent.id)
    content = json.loads(text) if isinstance(text, str) else text
    assert [agent["name"] for agent in content["agents"]] == ["surface"]
    return text


@calls("agents.import_file")
def agents_import_file(world: World) -> Any:
    assert world.turn
    text = world.client.agents.export_file(world.agent.id)
    content = text if isinstance(text, str) else json.dumps(text)
    file = ("copy.af", io.BytesIO(content.encode()), "application/json")
    answer = world.client.agents.import_file(file=file, name="brought")
    [agent_id] = answer.agent_ids
    assert world.client.agents.retrieve(agent_id).name.startswith("brought")
    return answer


@calls("agents.blocks.list")
def agents_blocks_list(world: World) -> Any:
    page = world.client.agents.blocks.list(world.agent.id)
    assert {block.label for block in page.items} == {"human", "persona"}
    return page


@calls("agents.blocks.retrieve")
def agents_blocks_retrieve(world: World) -> Any:
    block = world.client.agents.blocks.retrieve("persona", agent_id=world.agent.id)
    assert (block.label, block.value) == ("persona", "I am brief.")
    return block


@calls("agents.blocks.update")
def agents_blocks_update(world: World) -> Any:
    made = world.new_agent()
    block = world.client.agents.blocks.update("human", agent_id=made.id, value="Name: Ada", limit=900)
    assert (block.value, block.limit) == ("Name: Ada", 900)
    return block


@calls("agents.blocks.attach")
def agents_blocks_attach(world: World) -> Any:
    made, block = world.new_agent(), world.client.blocks.create(label="notes", value="n")
    state = world.client.agents.blocks.attach(block.id, agent_id=made.id)
    assert "notes" in {block.label for block in state.memory.blocks}
    return state


@calls("agents.blocks.detach")
def agents_blocks_detach(world: World) -> Any:
    made = world.new_agent()
    [block] = [block for block in made.memory.blocks if block.label == "human"]
    state = world.client.agents.blocks.detach(block.id, agent_id=made.id)
    assert {block.label for block in state.memory.blocks} == {"persona"}
    return state


@calls("agents.passages.create")
def agents_passages_create(world: World) -> Any:
    [passage] = world.client.agents.passages.create(world.agent.id, text="Ada plays chess.", tags=["games"])
    assert (passage.text, passage.tags) == ("Ada plays chess.", ["games"])
    return [passage]


@calls("agents.passages.list")
def agents_passages_list(world: World) -> Any:
    made = world.new_agent()
    world.client.agents.passages.create(made.id, text="The sky is blue.")
    found = world.client.agents.passages.list(made.id)
    assert [passage.text for passage in found] == ["The sky is blue."]
    return found


@calls("agents.passages.search")
def agents_passages_search(world: World) -> Any:
    made = world.new_agent()
    world.client.agents.passages.create(made.id, text="Bees make honey.")
    answer = world.client.agents.passages.search(made.id, query="honey")
    assert answer.count == 1
    assert answer.results[0].content == "Bees make honey."
    return answer


@calls("agents.passages.delete")
def agents_passages_delete(world: World) -> Any:
    made = world.new_agent()
    [passage] = world.client.agents.passages.create(made.id, text="Wrong.")
    answer = world.client.agents.passages.delete(passage.id, agent_id=made.id)
    assert world.client.agents.passages.list(made.id) == []
    return answer


@calls("passages.search")
def passages_search(world: World) -> Any:
    made = world.new_agent()
    world.client.agents.passages.create(made.id, text="Whales sing.")
    found = world.client.passages.search(agent_id=made.id, query="Whales")
    assert found[0].passage.text == "Whales sing."
    return found


@calls("blocks.create")
def blocks_create(world: World) -> Any:
    block = world.client.blocks.create(label="shared", value="v", description="d", read_only=True, limit=100)
    assert (block.label, block.value, block.description, block.read_only, block.limit) == (
        "shared",
        "v",
        "d",
        True,
        100,
    )
    return block


@calls("blocks.retrieve")
def blocks_retrieve(world: World) -> Any:
    made = world.client.blocks.create(label="kept", value="v")
    found = world.client.blocks.retrieve(made.id)
    assert found == made
    return found


@calls("blocks.update")
def blocks_update(world: World) -> Any:
    made = world.client.blocks.create(label="old", value="v")
    changed = world.client.blocks.update(made.id, value="w", metadata={"k": 1})
    assert (changed.value, changed.metadata) == ("w", {"k": 1})
    return changed


@calls("blocks.list")
def blocks_list(world: World) -> Any:
    made = [world.client.blocks.create(label="found", value=value).id for value in "abc"]
    page = world.client.blocks.list(label="found", limit=2, order="asc")
    assert [block.id for block in page] == made
    return page


@calls("blocks.delete")
def blocks_delete(world: World) -> Any:
    made = world.client.blocks.create(label="gone", value="v")
    answer = world.client.blocks.delete(made.id)
    with pytest.raises(NotFoundError):
        world.client.blocks.retrieve(made.id)
    return answer


@calls("blocks.agents.list")
def blocks_agents_list(world: World) -> Any:
    block = world.client.blocks.create(label="ours", value="v")
    made = world.new_agent(block_ids=[block.id])
    page = world.client.blocks.agents.list(block.id)
    assert [agent.id for agent in page.items] == [made.id]
    return page


@calls("tags.list")
def tags_list(world: World) -> Any:
    world.new_agent(tags=["a-tag", "b-tag"])
    found = world.client.tags.list(query_text="-tag")
    assert list(found) == ["a-tag", "b-tag"]
    return found
