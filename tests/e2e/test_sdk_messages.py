"""Sending messages as users of the Python SDK do: memory, tools, approvals, limits, failures, and sending twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from letta_client import APIStatusError, ConflictError, Letta

from tests.support.live import Live, wait_for

CLIENT_TOOL = {
    "name": "look_outside",
    "description": "What the weather is where the user is.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


def send(client: Letta, agent_id: str, script: str, **more: Any) -> Any:
    return client.agents.messages.create(agent_id, input=f"[[{script}]]", **more)


def said(answer: Any) -> list[str]:
    return [message.content for message in answer.messages if message.message_type == "assistant_message"]


@pytest.fixture
def waiting_run(live: Live, client: Letta, agent_id: str) -> Iterator[str]:
    """A run whose model does not answer for as long as the test lasts."""
    run = client.agents.messages.create_async(agent_id, input="[[hang 8 then say late]]")
    wait_for(lambda: client.runs.retrieve(run.id).status == "running", 30)
    yield run.id
    client.agents.messages.cancel(agent_id, run_ids=[run.id])


def test_a_memory_edit_is_in_the_block_and_in_the_next_prompt(client: Letta, agent_id: str) -> None:
    answer = send(
        client, agent_id, 'tool memory_insert {"label": "human", "new_string": "Plays the cello."} then say ok'
    )

    assert [message.message_type for message in answer.messages] == [
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    assert "Plays the cello." in client.agents.blocks.retrieve("human", agent_id=agent_id).value
    assert "Plays the cello." in said(send(client, agent_id, "show system"))[0]


def test_memory_is_replaced_by_the_model(client: Letta, agent_id: str) -> None:
    edit = 'tool memory_replace {"label": "human", "old_string": "Name: ?", "new_string": "Name: Ada"} then say ok'
    send(client, agent_id, edit)
    assert client.agents.blocks.retrieve("human", agent_id=agent_id).value == "Name: Ada"


def test_an_edit_of_a_block_that_is_not_there_is_told_to_the_model(client: Letta, agent_id: str) -> None:
    answer = send(client, agent_id, 'tool memory_insert {"label": "nowhere", "new_string": "x"} then say sorry')
    returned = answer.messages[1]
    assert returned.status == "error"
    assert "nowhere" in returned.tool_return
    assert said(answer) == ["sorry"]


def test_arguments_that_are_no_json_are_told_to_the_model(client: Letta, agent_id: str) -> None:
    answer = send(client, agent_id, "bad-json-args memory_insert then say recovered")
    assert answer.messages[1].status == "error"
    assert said(answer) == ["recovered"]


def test_a_tool_that_is_not_there_is_told_to_the_model(client: Letta, agent_id: str) -> None:
    answer = send(client, agent_id, "tool no_such_tool {} then say recovered")
    assert (answer.messages[1].status, "no_such_tool" in answer.messages[1].tool_return) == ("error", True)
    assert said(answer) == ["recovered"]


def test_a_turn_ends_at_its_limit_of_steps(client: Letta, agent_id: str) -> None:
    endless = " then ".join(f'tool memory_insert {{"label": "human", "new_string": "n{n}"}}' for n in range(4))
    answer = send(client, agent_id, f"{endless} then say never", max_steps=2)
    assert (answer.stop_reason.stop_reason, answer.usage.step_count, said(answer)) == ("max_steps", 2, [])
    assert said(send(client, agent_id, "say next turn")) == ["next turn"]


@pytest.mark.parametrize(
    ("code", "status", "error_type"),
    [
        (429, 429, "llm_rate_limit"),
        (401, 401, "llm_authentication"),
        (500, 503, "llm_error"),
        (400, 400, "llm_bad_request"),
    ],
)
def test_a_failure_of_the_vendor_reaches_the_caller_and_the_conversation_goes_on(
    client: Letta, agent_id: str, code: int, status: int, error_type: str
) -> None:
    with pytest.raises(APIStatusError) as failure:
        send(client, agent_id, f"error {code}")
    assert failure.value.status_code == status
    body = failure.value.body
    assert isinstance(body, dict)
    assert body["error"]["type"] == error_type
    assert body["error"]["message"]
    assert ":" in body["error"]["detail"], "the class of the failure, and what the vendor said"

    assert said(send(client, agent_id, "say still here")) == ["still here"]
    run = client.runs.list(agent_id=agent_id, order="asc").items[0]
    assert (run.status, run.stop_reason) == ("failed", "llm_api_error")


def test_a_failure_is_traced(live: Live, client: Letta, agent_id: str) -> None:
    with pytest.raises(APIStatusError):
        send(client, agent_id, "error 401")
    query = "SELECT error_type, is_error FROM llm_traces WHERE agent_id = %(agent_id)s"
    assert wait_for(lambda: live.traces(query, agent_id=agent_id), 30) == [("llm_authentication", 1)]


def test_a_failure_that_passes_is_tried_again(client: Letta, agent_id: str) -> None:
    answer = send(client, agent_id, f"error 500 x1 then say second try {uuid.uuid4()}")
    assert said(answer)[0].startswith("second try")


def test_a_tool_of_the_client_runs_at_the_client(client: Letta, agent_id: str) -> None:
    asked = send(client, agent_id, 'tool look_outside {"place": "Lisbon"} then say sunny', client_tools=[CLIENT_TOOL])
    assert asked.stop_reason.stop_reason == "requires_approval"
    assert [message.message_type for message in asked.messages] == ["approval_request_message"]
    call = asked.messages[0].tool_call
    assert call.name == "look_outside"

    with pytest.raises(ConflictError) as refused:
        send(client, agent_id, "say not now")
    detail = refused.value.body["detail"]  # type: ignore[index, call-overload]
    assert (detail["code"], detail["pending_request_id"]) == ("PENDING_APPROVAL", asked.messages[0].id)

    returned = {"type": "tool", "tool_call_id": call.tool_call_id, "tool_return": "Sun.", "status": "success"}
    answer = client.agents.messages.create(
        agent_id, messages=[{"type": "approval", "approvals": [returned]}], client_tools=[CLIENT_TOOL]
    )
    assert [message.message_type for message in answer.messages] == ["tool_return_message", "assistant_message"]
    assert (answer.messages[0].tool_return, said(answer)) == ("Sun.", ["sunny"])


@pytest.mark.parametrize("approve", [True, False])
def test_a_call_that_needs_approval_waits_for_it(live: Live, client: Letta, agent_id: str, approve: bool) -> None:
    path = f"{live.url}/v1/agents/{agent_id}"
    rules = [{"type": "requires_approval", "tool_name": "memory_insert"}]
    headers = {"Authorization": f"Bearer {live.key}"}
    httpx.patch(path, json={"tool_rules": rules}, headers=headers).raise_for_status()

    edit = 'tool memory_insert {"label": "human", "new_string": "Approved."} then say done'
    asked = send(client, agent_id, edit)
    assert asked.stop_reason.stop_reason == "requires_approval"
    call_id = asked.messages[-1].tool_call.tool_call_id
    assert "Approved." not in client.agents.blocks.retrieve("human", agent_id=agent_id).value

    answer = client.agents.messages.create(
        agent_id,
        messages=[
            {
                "type": "approval",
                "approvals": [{"type": "approval", "tool_call_id": call_id, "approve": approve, "reason": "so I say"}],
            }
        ],
    )
    assert said(answer) == ["done"]
    assert answer.messages[0].status == ("success" if approve else "error")
    assert ("Approved." in client.agents.blocks.retrieve("human", agent_id=agent_id).value) is approve


def test_an_approval_of_another_call_is_refused(client: Letta, agent_id: str) -> None:
    send(client, agent_id, 'tool look_outside {"place": "Lisbon"} then say sunny', client_tools=[CLIENT_TOOL])
    wrong = {"type": "approval", "tool_call_id": "call_wrong", "approve": True}
    with pytest.raises(APIStatusError, match="call_") as refused:
        client.agents.messages.create(agent_id, messages=[{"type": "approval", "approvals": [wrong]}])
    assert refused.value.status_code == 400


@pytest.mark.parametrize("streaming", [False, True])
def test_a_second_turn_is_refused_while_one_runs(
    client: Letta, agent_id: str, waiting_run: str, streaming: bool
) -> None:
    with pytest.raises(ConflictError) as refused:
        send(client, agent_id, "say second", streaming=streaming)
    body = refused.value.body
    assert isinstance(body, dict)
    assert body["run_id"] == waiting_run
    assert isinstance(body["detail"], str)


def test_a_pending_approval_refuses_a_stream_before_its_first_byte(client: Letta, agent_id: str) -> None:
    send(client, agent_id, 'tool look_outside {"place": "Lisbon"} then say sunny', client_tools=[CLIENT_TOOL])
    with pytest.raises(ConflictError, match="PENDING_APPROVAL"):
        send(client, agent_id, "say not now", streaming=True)


def test_the_same_send_twice_is_one_run(client: Letta, agent_id: str) -> None:
    message = {"role": "user", "content": "[[say once]]", "otid": str(uuid.uuid4())}
    first = client.agents.messages.create(agent_id, messages=[message])
    second = client.agents.messages.create(agent_id, messages=[message])
    assert first.messages[0].run_id == second.messages[0].run_id
    assert said(first) == said(second) == ["once"]
    assert len(client.agents.messages.list(agent_id).items) == 3


def test_an_idempotency_key_is_for_one_request(client: Letta, agent_id: str) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = send(client, agent_id, "say once", extra_headers=headers)
    assert send(client, agent_id, "say once", extra_headers=headers).messages[0].id == first.messages[0].id
    with pytest.raises(ConflictError, match="idempotency key"):
        send(client, agent_id, "say another", extra_headers=headers)


def test_an_async_send_answers_at_once_and_the_run_is_seen_to_its_end(client: Letta, agent_id: str) -> None:
    edit = 'tool memory_insert {"label": "human", "new_string": "Async."} then say done'
    run = client.agents.messages.create_async(agent_id, input=f"[[{edit}]]")
    assert run.status in ("created", "running")
    wait_for(lambda: client.runs.retrieve(run.id).status == "completed", 30)
    messages = client.runs.messages.list(run.id, order="asc").items
    assert [message.message_type for message in messages] == [
        "user_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    steps = client.runs.steps.list(run.id).items
    assert [step.status for step in steps] == ["success", "success"]
    assert client.runs.usage.retrieve(run.id).total_tokens == sum(step.total_tokens or 0 for step in steps)


def test_cancelling_nothing_is_a_conflict(client: Letta, agent_id: str) -> None:
    with pytest.raises(ConflictError):
        client.agents.messages.cancel(agent_id)
