"""What a send may ask for beside an answer: skills and system prompts for one request, and what is known of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from pydantic import ValidationError

from conversations import sse
from conversations.inputs import SendBody
from conversations.models import Run
from conversations.tokens import Tokens
from providers.actions import ProviderDraft, create_provider
from providers.clients.base import close_all
from streams.follow import hub
from tests.providers.fake_server import FakeServer, Reply
from tests.support.api import Api, Tenant
from tests.support.turns import thinker, traces, turn

pytestmark = pytest.mark.usefixtures("redis")
SKILL = {"name": "pdf", "description": "Fill <forms>", "location": "/skills/pdf/SKILL.md"}


def prompts(run: Run) -> list[str]:
    """The system prompt of each model call of the run."""
    return [message["content"] for trace in traces(run) for message in orjson.loads(trace["request"])["messages"][:1]]


def test_a_clients_skills_are_shown_for_that_request_alone(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    [shown] = prompts(turn(tenant, conversation, "[[say Hi]]", client_skills=[SKILL]))
    assert shown.startswith("Be brief.")
    section = shown[shown.index("<available_skills>") :]
    assert "<name>pdf</name>" in section
    assert "<description>Fill &lt;forms&gt;</description>" in section
    assert "<location>/skills/pdf/SKILL.md</location>" in section
    [plain] = prompts(turn(tenant, conversation, "[[say Hi]]"))
    assert shown == f"{plain}\n\n{section}"


def test_another_system_prompt_stands_in_for_all_of_it(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), "[[say Hi]]", override_system="Rhyme.", client_skills=[SKILL])
    assert prompts(run) == ["Rhyme."]


def test_a_system_message_is_said_to_the_model_in_its_place(tenant: Tenant) -> None:
    sent = [{"role": "system", "content": "It is noon."}, {"role": "user", "content": "[[say Hi]]"}]
    run = turn(tenant, thinker(tenant), sent)
    [trace] = traces(run)
    asked = orjson.loads(trace["request"])["messages"]
    assert [(m["role"], m["content"]) for m in asked[1:]] == [("system", "It is noon."), ("user", "[[say Hi]]")]


@pytest.mark.parametrize("wrong", [{"top_logprobs": 21}, {"client_skills": [{"name": "x"}]}, {"max_steps": 0}])
def test_what_cannot_be_asked_for_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SendBody.model_validate({"input": "x"} | wrong)


def test_what_would_be_sent_is_shown_and_nothing_is_sent(tenant: Tenant, api: Api) -> None:
    conversation = thinker(tenant)
    body = {"input": "[[say Hi]]", "override_system": "Rhyme."}
    shown = api.post(f"/agents/{conversation.agent_id}/messages/preview-raw-payload", body).ok()
    assert [(m["role"], m["content"]) for m in shown["messages"]] == [("system", "Rhyme."), ("user", "[[say Hi]]")]
    assert Run.objects.count() == 0
    [trace] = traces(turn(tenant, conversation, "[[say Hi]]", override_system="Rhyme."))
    assert orjson.loads(trace["request"]) == shown
    same = api.post(f"/conversations/{conversation.pk}/messages/preview-raw-payload", {"input": "Again"}).ok()
    assert [m["role"] for m in same["messages"]] == ["system", "user", "assistant", "user"]


# Tokens

LIKELY = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}


@pytest.fixture
def vllm() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    close_all()
    server.close()


def answered(run: Run) -> dict[str, Any]:
    async def wait() -> dict[str, Any]:
        try:
            return (await sse.drain(run)).body
        finally:
            await hub().close()

    return async_to_sync(wait)()


def streamed(**choice: Any) -> Reply:
    parts: list[dict[str, Any]] = [{"delta": {"content": "Hi"}, **choice}, {"delta": {}, "finish_reason": "stop"}]
    chunks = [json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, **part}]}) for part in parts]
    return Reply(stream=b"".join(f"data: {chunk}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n")


def test_what_a_vendor_tells_of_its_tokens_comes_with_the_answer(tenant: Tenant, vllm: FakeServer) -> None:
    vllm.decide = lambda path, body: (
        Reply({"data": [{"id": "qwen3"}]}) if body is None else streamed(logprobs={"content": [LIKELY]}, token_ids=[17])
    )
    draft = ProviderDraft(name="gpu", provider_type="vllm", base_url=f"{vllm.url}/v1")
    create_provider(str(tenant.organization.pk), draft)
    conversation = thinker(tenant, model="gpu/qwen3")
    asked = {"return_logprobs": True, "top_logprobs": 2, "return_token_ids": True}
    answer = answered(turn(tenant, conversation, "Hello", **asked))
    sent = vllm.sent[-1]
    assert (sent["logprobs"], sent["top_logprobs"], sent["return_token_ids"]) == (True, 2, True)
    assert answer["logprobs"] == {"content": [LIKELY], "refusal": None}
    said = {"role": "assistant", "content": "Hi", "tool_name": None}
    assert answer["turns"] == [said | {"output_ids": [17], "output_token_logprobs": [[-0.1, 17, "Hi"]]}]
    plain = answered(turn(tenant, conversation, "Hello"))
    assert not {"logprobs", "return_token_ids"} & set(vllm.sent[-1])
    assert plain["turns"] is None


def test_a_vendor_that_tells_nothing_answers_all_the_same(tenant: Tenant) -> None:
    answer = answered(turn(tenant, thinker(tenant), "[[say Hi]]", return_logprobs=True, return_token_ids=True))
    assert (answer["logprobs"], answer["turns"]) == (None, None)
    assert [message["content"] for message in answer["messages"]] == ["Hi"]


def test_what_tools_returned_stands_between_the_turns_of_the_model() -> None:
    tokens = Tokens(turns=[])
    call = {"id": "c", "name": "add", "arguments": "{}"}
    returned = {"role": "tool", "tool_returns": [{"name": "add", "content": "3"}]}
    rows = [{"role": "user"}, {"role": "assistant", "content": [], "tool_calls": [call]}, returned]
    for row in rows:
        tokens.note({"type": "message_added", "message": {"tool_calls": [], **row}})
    tokens.note({"type": "step_ended", "token_ids": [1, 2], "logprobs": None})
    assert tokens.turns is not None
    assert [(turn["role"], turn["output_ids"], turn["tool_name"]) for turn in tokens.turns] == [
        ("assistant", [1, 2], None),
        ("tool", None, "add"),
    ]
