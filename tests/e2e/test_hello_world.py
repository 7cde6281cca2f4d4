"""The hello world of Letta's README, unchanged but for base URL, key and model handle."""

from __future__ import annotations

from letta_client import Letta

from tests.support.live import MODEL, Live


def test_an_agent_is_created_and_answers(live: Live) -> None:
    client = Letta(base_url=live.url, api_key=live.key)

    agent_state = client.agents.create(
        model=MODEL,
        memory_blocks=[
            {"label": "human", "value": "Name: Timber. Status: dog. Occupation: building Letta."},
            {"label": "persona", "value": "I am a self-improving superintelligence. Timber is my best friend."},
        ],
        tools=["memory_insert", "memory_replace"],
    )

    response = client.agents.messages.create(
        agent_id=agent_state.id, input="What do you know about me? [[say You are Timber, a dog.]]"
    )

    printed = [f"{message.message_type}: {message.content}" for message in response.messages]
    assert printed == ["assistant_message: You are Timber, a dog."]
    assert response.stop_reason.stop_reason == "end_turn"
    assert response.usage.step_count == 1
    assert response.usage.total_tokens == response.usage.prompt_tokens + response.usage.completion_tokens > 0

    listed = client.agents.messages.list(agent_state.id, order="asc").items
    assert [message.message_type for message in listed] == ["system_message", "user_message", "assistant_message"]
    assert client.agents.retrieve(agent_state.id).id == agent_state.id
    client.close()
