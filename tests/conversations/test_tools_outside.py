"""Tools that act outside the database, in runs: once each, whoever dies in the middle, and told as it happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from agents.memory import touch_prompt
from agents.models import AgentTool, Tool
from agents.tools import external
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.external import ExternalReturn, ExternalTool
from conversations import history as histories
from conversations import outside, runner
from conversations.actions import cancel_conversation, cancel_run
from conversations.models import Conversation, Message, Run, RunStatus, Step, ToolExecution
from conversations.outside import UNKNOWN
from tests.support.api import Tenant
from tests.support.turns import block, events, fresh, kinds, lose, messages, send, thinker, traces, turn, work

pytestmark = pytest.mark.usefixtures("redis")
INSERT = 'memory_insert {"label": "human", "new_string": "Ada"}'


class Killed(BaseException):
    """As `kill -9` of the worker: nothing of ours catches it."""


class Bell:
    """A tool outside the database: it keeps what it was asked, and answers as it is told to."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.keys: list[str] = []
        self.do: Callable[[ToolContext, str], Any] = lambda context, word: None

    def run(self, context: ToolContext, tool: Mapping[str, Any], args: Args) -> ExternalReturn:
        self.rung.append(args["word"])
        self.keys.append(context.idempotency_key)
        given = self.do(context, args["word"])
        return given if isinstance(given, ExternalReturn) else ExternalReturn(f"rang {args['word']}", stdout=["dong"])


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Bell:
    made = Bell()
    monkeypatch.setitem(external._registered, ("external_mcp", ""), ExternalTool("external_mcp", made.run))
    return made


@pytest.fixture
def repeatable(bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = ExternalTool("external_mcp", bell.run, external.always)
    monkeypatch.setitem(external._registered, ("external_mcp", ""), tool)


@pytest.fixture
def ringer(tenant: Tenant, bell: Bell) -> Conversation:
    return with_bell(tenant)


def with_bell(tenant: Tenant, *, parallel: bool = False, approval: bool = False, **fields: Any) -> Conversation:
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    tool = Tool.objects.create(
        organization=tenant.organization,
        name="ring",
        tool_type="external_mcp",
        json_schema={"name": "ring", "description": "Rings.", "parameters": parameters},
        enable_parallel_execution=parallel,
        default_requires_approval=approval,
    )
    conversation = thinker(tenant, **fields)
    AgentTool.objects.create(agent=conversation.agent, tool=tool)
    touch_prompt([conversation.agent_id])
    return fresh(conversation)


def ring(*words: str) -> str:
    return " ; ".join(f'ring {{"word": "{word}"}}' for word in words)


def returns(run: Run) -> list[dict[str, Any]]:
    return list(Message.objects.get(run=run, role="tool").tool_returns)


def die(*_: Any) -> Any:
    raise Killed


def kill(run: Run) -> None:
    """Its worker dies in the next step, and what it remembered with it."""
    with pytest.raises(Killed):
        runner.advance(run.pk)
    histories._remembered.clear()
    lose(run)


def is_valid(run: Run) -> None:
    """What the run's last model call was asked: each tool call has exactly one return behind it."""
    asked: list[dict[str, Any]] = json.loads(traces(run)[-1]["request"])["messages"]
    called = [call["id"] for message in asked for call in message.get("tool_calls") or ()]
    assert called == [message["tool_call_id"] for message in asked if message["role"] == "tool"]


def test_a_call_is_told_and_stored_before_it_is_made(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    run = send(tenant, ringer, f"[[tools {ring('a')} ; {INSERT} then say Done]]", stream_tokens=True)
    seen: list[Any] = []

    def look(context: ToolContext, word: str) -> None:
        step = Step.objects.get(run=run)
        stored = Run.objects.get(pk=run.pk)
        seen.append((kinds(run)[-2:], step.status, stored.usage == step.usage, block(ringer)))

    bell.do = look
    run = work(run)
    assert seen == [(["message_added", "message_added"], "pending", True, "Name: ?")]
    assert (run.status, run.step_count, block(ringer)) == (RunStatus.COMPLETED, 2, "Name: ?\nAda")
    told = [event["message"]["role"] for event in events(run) if event["type"] == "message_added"]
    assert told == ["user", "assistant", "tool", "assistant"]
    first, inserted = returns(run)
    assert (first["content"], first["stdout"], first["is_error"]) == ("rang a", ["dong"], False)
    assert inserted["name"] == "memory_insert"
    assert "edits" not in first
    step = Step.objects.get(run=run, index=0)
    assert (step.status, step.tools_used, step.stop_reason) == ("success", ["memory_insert", "ring"], None)
    assert step.tools_ms is not None
    assert run.usage["output"] == sum(step.usage["output"] for step in Step.objects.filter(run=run))
    assert not ToolExecution.objects.exists()
    is_valid(run)


@pytest.mark.parametrize(
    ("error", "content"),
    [
        (ToolError("no such bell"), "no such bell"),
        (ZeroDivisionError("secret"), "the tool could not be run: an internal error of this server"),
    ],
    ids=["of the tool", "of ours"],
)
def test_a_call_that_fails_is_told_to_the_model(
    tenant: Tenant, ringer: Conversation, bell: Bell, error: Exception, content: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    bell.do = fail
    run = turn(tenant, ringer, f"[[tool {ring('a')} then say Sorry]]")
    [returned] = returns(run)
    assert returned["content"].startswith(content)
    assert returned["is_error"]
    assert run.status == RunStatus.COMPLETED


def test_what_does_not_fit_the_schema_is_not_called(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    run = turn(tenant, ringer, '[[tool ring {"word": 3} then say Sorry]]')
    assert returns(run)[0]["is_error"]
    assert bell.rung == []


def test_a_tools_changes_of_memory_are_written_with_the_step(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    bell.do = lambda context, word: ExternalReturn("ok", edits={"human": ("Name: ?", f"Name: {word}")})
    turn(tenant, ringer, f"[[tool {ring('Ada')} then say Done]]")
    assert block(ringer) == "Name: Ada"
    run = turn(tenant, ringer, f"[[tool {ring('Eve')} then say Done]]")
    assert block(ringer) == "Name: Ada"
    assert "changed by somebody else" in returns(run)[0]["content"]


def test_a_call_whose_fate_is_unknown_is_not_made_again(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    run = send(tenant, ringer, f"[[tools {ring('a')} ; {INSERT} then say Done]]")
    bell.do = die
    kill(run)
    assert ToolExecution.objects.get(run=run).result is None
    run = work(run)
    assert bell.rung == ["a"]
    assert [item["content"] for item in returns(run)] == [UNKNOWN, "Name: ?\nAda"]
    assert (run.status, run.step_count, len(traces(run))) == (RunStatus.COMPLETED, 2, 2)
    assert [step.status for step in Step.objects.filter(run=run)] == ["success", "success"]
    assert "step_lost" not in kinds(run)
    told = [event["message"]["role"] for event in events(run) if event["type"] == "message_added"]
    assert told == ["user", "assistant", "tool", "assistant"]
    assert run.usage["output"] == sum(step.usage["output"] for step in Step.objects.filter(run=run))
    is_valid(run)


@pytest.mark.usefixtures("repeatable")
def test_a_call_that_leaves_nothing_behind_is_made_again(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    run = send(tenant, ringer, f"[[tool {ring('a')} then say Done]]")
    bell.do = die
    kill(run)
    bell.do = lambda context, word: None
    run = work(run)
    assert (bell.rung, returns(run)[0]["content"]) == (["a", "a"], "rang a")
    assert bell.keys[0] == bell.keys[1] != ""
    assert len(traces(run)) == 2


def test_results_that_were_recorded_are_used(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    """The second of three calls kills its worker: the first is not made again, the third only now."""
    run = send(tenant, ringer, f"[[tools {ring('a', 'b', 'c')} then say Done]]")
    bell.do = lambda context, word: die() if word == "b" else None
    kill(run)
    run = work(run)
    assert bell.rung == ["a", "b", "c"]
    assert [item["content"] for item in returns(run)] == ["rang a", UNKNOWN, "rang c"]


def test_a_worker_that_dies_before_the_second_commit_loses_no_result(
    tenant: Tenant, ringer: Conversation, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = send(tenant, ringer, f"[[tool {ring('a')} then say Done]]")
    with monkeypatch.context() as patched:
        patched.setattr(outside, "close_step", die)
        kill(run)
    run = work(run)
    assert (bell.rung, returns(run)[0]["content"]) == (["a"], "rang a")


def test_a_worker_that_dies_before_the_telling_leaves_it_to_the_next(
    tenant: Tenant, ringer: Conversation, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = send(tenant, ringer, f"[[tool {ring('a')} then say Done]]")
    with monkeypatch.context() as patched:
        patched.setattr(runner, "_close", die)
        kill(run)
    run = work(run)
    told = [event["message"]["role"] for event in events(run) if event["type"] == "message_added"]
    assert told == ["user", "assistant", "tool", "assistant"]
    assert returns(run)[0]["content"] == UNKNOWN


def test_a_tool_that_kills_its_workers_ends_the_run_and_not_the_conversation(
    tenant: Tenant, ringer: Conversation, bell: Bell, repeatable: None
) -> None:
    run = send(tenant, ringer, f"[[tool {ring('a')} then say Done]]")
    bell.do = die
    for _ in range(runner.MAX_LOST_STEPS):
        kill(run)
    runner.advance(run.pk)
    run.refresh_from_db()
    assert run.error is not None
    assert (run.status, run.error["type"], len(traces(run))) == (RunStatus.FAILED, "workers_lost", 1)
    assert Step.objects.get(run=run).status == "failed"
    assert "given up" in returns(run)[0]["content"]
    bell.do = lambda context, word: None
    after = turn(tenant, ringer, "[[say On]]")
    assert after.status == RunStatus.COMPLETED
    is_valid(after)


def test_a_cancelled_call_is_given_up(tenant: Tenant, ringer: Conversation, bell: Bell) -> None:
    run = send(tenant, ringer, f"[[tools {ring('a', 'b', 'c')} ; {INSERT} then say Done]]")
    bell.do = lambda context, word: cancel_run(Run.objects.get(pk=run.pk)) if word == "b" else None
    runner.advance(run.pk)
    run.refresh_from_db()
    assert (run.status, bell.rung, block(ringer)) == (RunStatus.CANCELLED, ["a", "b"], "Name: ?")
    first, second, third, fourth = (item["content"] for item in returns(run))
    assert first == "rang a"
    assert "given up" in second
    assert "cancelled by the user" in third
    assert "cancelled by the user" in fourth
    assert kinds(run)[-2:] == ["message_added", "run_ended"]
    assert Step.objects.get(run=run).status == "cancelled"
    assert not ToolExecution.objects.exists()
    is_valid(turn(tenant, ringer, "[[say On]]"))


@pytest.mark.parametrize("parallel", [True, False])
def test_calls_run_at_once_only_where_their_tool_allows_it(tenant: Tenant, bell: Bell, parallel: bool) -> None:
    conversation = with_bell(tenant, parallel=parallel)
    together = threading.Barrier(3)

    def meet(context: ToolContext, word: str) -> ExternalReturn:
        try:
            together.wait(5 if parallel else 0.05)
        except threading.BrokenBarrierError:
            return ExternalReturn("alone")
        return ExternalReturn(f"met as {word}")

    bell.do = meet
    run = turn(tenant, conversation, f"[[tools {ring('a', 'b', 'c')} then say Done]]")
    expected = ["met as a", "met as b", "met as c"] if parallel else ["alone"] * 3
    assert [item["content"] for item in returns(run)] == expected


def approve(conversation: Conversation) -> list[dict[str, Any]]:
    request = Message.objects.get(pk=fresh(conversation).pending_approval_id)
    given = [{"type": "approval", "tool_call_id": call["id"], "approve": True} for call in request.tool_calls]
    return [{"type": "approval", "approvals": given}]


@pytest.mark.parametrize("dies", [False, True], ids=["alive", "dead"])
def test_an_approved_call_is_made_once(tenant: Tenant, bell: Bell, dies: bool) -> None:
    conversation = with_bell(tenant, approval=True)
    assert turn(tenant, conversation, f"[[tools {ring('a', 'b')} then say Done]]").status == RunStatus.WAITING_APPROVAL
    assert bell.rung == []
    run = send(tenant, conversation, approve(conversation))
    if dies:
        bell.do = lambda context, word: die() if word == "b" else None
        kill(run)
    run = work(run)
    assert (run.status, bell.rung) == (RunStatus.COMPLETED, ["a", "b"])
    assert [item["content"] for item in returns(run)] == ["rang a", UNKNOWN if dies else "rang b"]
    assert not ToolExecution.objects.exists()
    is_valid(run)


def test_cancelling_an_approved_call_ends_the_wait_with_what_was_done(tenant: Tenant, bell: Bell) -> None:
    conversation = with_bell(tenant, approval=True)
    asked = turn(tenant, conversation, f"[[tools {ring('a', 'b')} then say Done]]")
    run = send(tenant, conversation, approve(conversation))
    bell.do = lambda context, word: cancel_conversation(fresh(conversation)) if word == "b" else None
    runner.advance(run.pk)
    run.refresh_from_db()
    asked.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    assert asked.status in (RunStatus.COMPLETED, RunStatus.CANCELLED)
    assert fresh(conversation).pending_approval_id == ""
    [row] = Message.objects.filter(conversation=conversation, role="tool")
    assert [item["content"][:9] for item in row.tool_returns] == ["rang a", "This call"]
    is_valid(turn(tenant, conversation, "[[say On]]"))


def test_a_step_with_a_call_outside_costs_few_queries(
    tenant: Tenant, ringer: Conversation, bell: Bell, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    turn(tenant, ringer, f"[[tool {ring('a')} then say Done]]")
    run = send(tenant, ringer, f"[[tool {ring('b')} then say Done]]")
    with django_assert_max_num_queries(24):
        runner.advance(run.pk)
    assert bell.rung == ["a", "b"]
    assert messages(ringer)[-1] == ("tool", "rang b")
