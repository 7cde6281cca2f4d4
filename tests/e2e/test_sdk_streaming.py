"""Streams as users of the Python SDK read them: tokens, steps, background runs that are resumed, conversations."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from letta_client import BadRequestError, Letta

from tests.support.live import wait_for


def text_of(frames: Iterable[Any]) -> str:
    return "".join(frame.content for frame in frames if frame.message_type == "assistant_message")


def types_of(frames: Iterable[Any]) -> list[str]:
    return [frame.message_type for frame in frames]


def test_tokens_arrive_as_the_model_says_them(client: Letta, agent_id: str, slow_tokens: None) -> None:
    frames = list(
        client.agents.messages.create(
            agent_id, input="[[think hm hm then tokens 60]]", streaming=True, stream_tokens=True
        )
    )

    pieces = [frame for frame in frames if frame.message_type == "assistant_message"]
    assert len(pieces) > 5
    assert text_of(frames).startswith("the cat sat and ate")
    assert len(text_of(frames).split()) == 60
    assert len({(piece.id, piece.otid) for piece in pieces}) == 1
    reasoning = [frame for frame in frames if frame.message_type == "reasoning_message"]
    assert "".join(piece.reasoning for piece in reasoning) == "hm hm"
    assert {piece.id for piece in reasoning} == {pieces[0].id}
    assert reasoning[0].otid != pieces[0].otid
    assert types_of(frames)[0] == "ping"
    assert types_of(frames)[-2:] == ["stop_reason", "usage_statistics"]
    stored = client.agents.messages.list(agent_id, include_return_message_types=["assistant_message"]).items
    assert [(message.id, message.content) for message in stored] == [(pieces[0].id, text_of(frames))]


def test_the_streaming_route_of_older_clients_streams_too(client: Letta, agent_id: str) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        frames = client.agents.messages.stream(agent_id, input="[[say as ever]]", stream_tokens=True)
    assert text_of(frames) == "as ever"


def test_steps_arrive_whole_where_tokens_are_not_asked_for(client: Letta, agent_id: str) -> None:
    script = '[[think hm then tool memory_insert {"label": "human", "new_string": "Likes tea."} then say noted]]'
    frames = list(client.agents.messages.create(agent_id, input=script, streaming=True))

    assert types_of(frames) == [
        "ping",
        "reasoning_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
        "stop_reason",
        "usage_statistics",
    ]
    assert frames[3].status == "success"
    assert frames[-1].step_count == 2
    assert "Likes tea." in client.agents.blocks.retrieve("human", agent_id=agent_id).value


def test_a_cut_background_stream_is_resumed_without_a_gap_or_a_repeat(
    client: Letta, agent_id: str, slow_tokens: None
) -> None:
    script = '[[tool memory_insert {"label": "human", "new_string": "Cut."} then tokens 80]]'
    stream = client.agents.messages.create(agent_id, input=script, streaming=True, stream_tokens=True, background=True)
    seen: list[Any] = []
    for frame in stream:
        seen.append(frame)
        if len(text_of(seen).split()) >= 20:
            break
    stream.response.close()

    run_id, last = seen[-1].run_id, seen[-1].seq_id
    rest = list(client.runs.messages.stream(run_id, starting_after=last))

    whole = list(client.runs.messages.stream(run_id, starting_after=0))
    numbers = [frame.seq_id for frame in [*seen, *rest] if getattr(frame, "seq_id", None)]
    assert numbers == [frame.seq_id for frame in whole if getattr(frame, "seq_id", None)]
    assert numbers == sorted(set(numbers))
    assert len(text_of([*seen, *rest]).split()) == 80
    assert text_of([*seen, *rest]) == text_of(whole)
    assert types_of(rest)[-2:] == ["stop_reason", "usage_statistics"]
    assert client.runs.retrieve(run_id).status == "completed"


def test_every_place_of_a_stream_can_be_resumed_from(client: Letta, agent_id: str) -> None:
    script = '[[think a then tool memory_insert {"label": "human", "new_string": "P."} then say one two three]]'
    whole = list(
        client.agents.messages.create(agent_id, input=script, streaming=True, stream_tokens=True, background=True)
    )
    numbered = [frame for frame in whole if getattr(frame, "seq_id", None)]
    for place, frame in enumerate(numbered):
        rest = client.runs.messages.stream(frame.run_id, starting_after=frame.seq_id)
        numbers = [later.seq_id for later in rest if getattr(later, "seq_id", None)]
        assert numbers == [later.seq_id for later in numbered[place + 1 :]]


def test_a_run_whose_viewer_leaves_goes_on(client: Letta, agent_id: str, slow_tokens: None) -> None:
    stream = client.agents.messages.create(agent_id, input="[[tokens 60]]", streaming=True, stream_tokens=True)
    run_id = next(iter(stream)).run_id
    stream.response.close()

    wait_for(lambda: client.runs.retrieve(run_id).status == "completed", 30)
    assert len(str(client.agents.messages.list(agent_id, limit=1).items[0].content).split()) == 60


def test_a_run_that_was_not_started_in_the_background_cannot_be_resumed(client: Letta, agent_id: str) -> None:
    answer = client.agents.messages.create(agent_id, input="[[say hi]]")
    with pytest.raises(BadRequestError, match="background"):
        list(client.runs.messages.stream(str(answer.messages[0].run_id)))


def test_a_conversation_streams_by_itself_and_answers_json_where_asked(client: Letta, agent_id: str) -> None:
    conversation = client.conversations.create(agent_id=agent_id)

    frames = list(client.conversations.messages.create(conversation.id, input="[[say by stream]]", stream_tokens=True))
    assert text_of(frames) == "by stream"
    answer = client.conversations.messages.create(conversation.id, input="[[say by json]]", streaming=False)
    answer.response.read()  # the SDK types this method as a stream, also where JSON was asked for
    assert [message["content"] for message in answer.response.json()["messages"]] == ["by json"]

    said = [message.content for message in client.conversations.messages.list(conversation.id, order="asc").items[1:]]
    assert said == ["[[say by stream]]", "by stream", "[[say by json]]", "by json"]
    assert len(client.agents.messages.list(agent_id).items) == 1, "the agent's own thread has its system message alone"


def test_a_background_run_of_a_conversation_is_found_again_by_its_conversation(
    client: Letta, agent_id: str, slow_tokens: None
) -> None:
    conversation = client.conversations.create(agent_id=agent_id)
    stream = client.conversations.messages.create(
        conversation.id, input="[[tokens 60]]", stream_tokens=True, background=True
    )
    first = next(frame for frame in stream if frame.message_type == "assistant_message")
    stream.response.close()

    rest = list(client.conversations.messages.stream(conversation.id, starting_after=first.seq_id))
    assert len((first.content + text_of(rest)).split()) == 60


def test_the_default_conversation_is_the_agents_own_thread(client: Letta, agent_id: str) -> None:
    list(client.conversations.messages.create("default", agent_id=agent_id, input="[[say in the default one]]"))
    assert client.agents.messages.list(agent_id, limit=1).items[0].content == "in the default one"


def test_a_stream_is_cancelled_while_it_runs(client: Letta, agent_id: str, slow_tokens: None) -> None:
    stream = client.agents.messages.create(
        agent_id, input="[[tokens 400]]", streaming=True, stream_tokens=True, background=True
    )
    frames: list[Any] = []
    cancelled: dict[str, str] = {}
    for frame in stream:
        frames.append(frame)
        if frame.message_type == "assistant_message" and not cancelled:
            cancelled = dict(client.agents.messages.cancel(agent_id))
    run_id = frames[0].run_id
    assert cancelled == {run_id: "cancelled"}
    assert frames[-1].stop_reason == "cancelled"
    assert len(text_of(frames).split()) < 400
    assert client.runs.retrieve(run_id).status == "cancelled"
    answer = client.agents.messages.create(agent_id, input="[[say and on]]")
    assert answer.messages[0].content == "and on"


def test_two_followers_of_a_run_see_the_same(client: Letta, agent_id: str, slow_tokens: None) -> None:
    stream = client.agents.messages.create(
        agent_id, input="[[tokens 50]]", streaming=True, stream_tokens=True, background=True
    )
    first = next(iter(stream))
    others: list[list[Any]] = [[], []]

    def follow(found: list[Any]) -> None:
        found += client.runs.messages.stream(first.run_id, starting_after=0)

    threads = [threading.Thread(target=follow, args=(found,)) for found in others]
    for thread in threads:
        thread.start()
    mine = [first, *stream]
    for thread in threads:
        thread.join()
    assert text_of(mine) == text_of(others[0]) == text_of(others[1])
    assert len(text_of(mine).split()) == 50
