"""`client.agents.messages`, `client.conversations` and `client.messages`, method by method."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client import NotFoundError

from tests.e2e.surface.world import World, calls
from tests.support.live import wait_for


def types(frames: Any) -> list[str]:
    return [frame.message_type for frame in frames]


@calls("agents.messages.create")
def agents_messages_create(world: World) -> Any:
    answer = world.say("think hm then say hello")
    assert types(answer.messages) == ["reasoning_message", "assistant_message"]
    assert answer.stop_reason.stop_reason == "end_turn"
    assert answer.usage.step_count == 1
    return [answer, *answer.messages]


@calls("agents.messages.stream")
def agents_messages_stream(world: World) -> Any:
    frames = list(world.client.agents.messages.stream(world.agent.id, input="[[tokens 12]]", stream_tokens=True))
    assert types(frames)[-2:] == ["stop_reason", "usage_statistics"]
    assert sum(kind == "assistant_message" for kind in types(frames)) >= 1
    return frames


@calls("agents.messages.create_async")
def agents_messages_create_async(world: World) -> Any:
    run = world.client.agents.messages.create_async(world.new_agent().id, input="[[say later]]")
    wait_for(lambda: world.client.runs.retrieve(run.id).status == "completed", 30)
    return run


@calls("agents.messages.list")
def agents_messages_list(world: World) -> Any:
    made = world.new_agent()
    world.say("say one", made.id)
    world.say("say two", made.id)
    page = world.client.agents.messages.list(made.id, order="asc", limit=3)
    assert types(page.items) == ["system_message", "user_message", "assistant_message"]
    assert len(list(page)) == 5
    return page


@calls("agents.messages.cancel")
def agents_messages_cancel(world: World) -> Any:
    run = world.running()
    answer = world.client.agents.messages.cancel(run.agent_id, run_ids=[run.id])
    assert world.client.runs.retrieve(run.id).status == "cancelled"
    return answer


@calls("agents.messages.reset")
def agents_messages_reset(world: World) -> Any:
    made = world.new_agent()
    world.say("say forget me", made.id)
    answer = world.client.agents.messages.reset(made.id)
    assert "forget me" not in str(world.say("show last", made.id).messages)
    assert len(world.client.agents.retrieve(made.id).message_ids or []) == 3
    return answer


@calls("agents.messages.compact")
def agents_messages_compact(world: World) -> Any:
    made = world.new_agent()
    for number in range(4):
        world.say(f"say {number}", made.id)
    answer = world.client.agents.messages.compact(made.id)
    assert answer.num_messages_after < answer.num_messages_before
    return answer


@calls("conversations.create")
def conversations_create(world: World) -> Any:
    made = world.client.conversations.create(agent_id=world.agent.id, summary="about tea")
    assert (made.agent_id, made.summary) == (world.agent.id, "about tea")
    return made


@calls("conversations.retrieve")
def conversations_retrieve(world: World) -> Any:
    made = world.conversation()
    found = world.client.conversations.retrieve(made.id)
    assert found.id == made.id
    assert len(found.in_context_message_ids or []) == 3
    return found


@calls("conversations.list")
def conversations_list(world: World) -> Any:
    agent = world.new_agent()
    made = {world.client.conversations.create(agent_id=agent.id).id for _ in range(2)}
    found = world.client.conversations.list(agent_id=agent.id)
    assert {conversation.id for conversation in found} == made
    return found


@calls("conversations.update")
def conversations_update(world: World) -> Any:
    made = world.client.conversations.create(agent_id=world.agent.id)
    changed = world.client.conversations.update(made.id, summary="renamed", description="why", archived=True)
    assert (changed.summary, changed.description, changed.archived) == ("renamed", "why", True)
    return changed


@calls("conversations.delete")
def conversations_delete(world: World) -> Any:
    made = world.client.conversations.create(agent_id=world.agent.id)
    answer = world.client.conversations.delete(made.id)
    with pytest.raises(NotFoundError):
        world.client.conversations.retrieve(made.id)
    return answer


@calls("conversations.fork")
def conversations_fork(world: World) -> Any:
    made = world.conversation()
    forked = world.client.conversations.fork(made.id)
    assert forked.id != made.id
    told = [m.content for m in world.client.conversations.messages.list(forked.id, order="asc").items[1:]]
    assert told == ["[[say in a thread]]", "in a thread"]
    return forked


@calls("conversations.recompile")
def conversations_recompile(world: World) -> Any:
    text = world.client.conversations.recompile(world.conversation().id, dry_run=True)
    assert "I am brief." in text
    return text


@calls("conversations.cancel")
def conversations_cancel(world: World) -> Any:
    made = world.client.conversations.create(agent_id=world.new_agent().id)
    stream = world.client.conversations.messages.create(made.id, input="[[hang 20 then say late]]", background=True)
    next(iter(stream))
    answer = world.client.conversations.cancel(made.id)
    stream.close()
    return answer


@calls("conversations.messages.create")
def conversations_messages_create(world: World) -> Any:
    made = world.client.conversations.create(agent_id=world.agent.id)
    frames = list(world.client.conversations.messages.create(made.id, input="[[say by stream]]"))
    assert [kind for kind in types(frames) if kind != "ping"] == [
        "assistant_message",
        "stop_reason",
        "usage_statistics",
    ]
    return frames


@calls("conversations.messages.list")
def conversations_messages_list(world: World) -> Any:
    page = world.client.conversations.messages.list(world.conversation().id, order="asc")
    assert types(page.items) == ["system_message", "user_message", "assistant_message"]
    return page


@calls("conversations.messages.stream")
def conversations_messages_stream(world: World) -> Any:
    made = world.client.conversations.create(agent_id=world.agent.id)
    first = world.client.conversations.messages.create(made.id, input="[[say resumed]]", background=True)
    began = next(iter(first))
    first.close()
    frames = list(world.client.conversations.messages.stream(made.id, run_id=began.run_id, starting_after=0))
    assert "resumed" in [frame.content for frame in frames if frame.message_type == "assistant_message"]
    return frames


@calls("conversations.messages.compact")
def conversations_messages_compact(world: World) -> Any:
    made = world.conversation()
    for number in range(3):
        list(world.client.conversations.messages.create(made.id, input=f"[[say {number}]]"))
    answer = world.client.conversations.messages.compact(made.id)
    assert answer.num_messages_after < answer.num_messages_before
    return answer


@calls("messages.list")
def messages_list(world: World) -> Any:
    assert world.turn
    found = world.client.messages.list(limit=5)
    assert 0 < len(found) <= 5
    return found


@calls("messages.retrieve")
def messages_retrieve(world: World) -> Any:
    wanted = world.turn.messages[0]
    found = world.client.messages.retrieve(wanted.id)
    assert wanted.id in {message.id for message in found}
    return found


@calls("messages.search")
def messages_search(world: World) -> Any:
    made = world.new_agent()
    world.say("say The zanzibar parrot is green", made.id)
    found = world.client.messages.search(query="zanzibar", agent_id=made.id, search_mode="fts")
    assert any("zanzibar" in str(result.to_dict()) for result in found)
    return found
