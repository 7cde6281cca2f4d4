"""`client.runs`, `client.steps`, `client.models` and `client.health`, method by method."""

from __future__ import annotations

from typing import Any

from tests.e2e.surface.world import World, calls
from tests.support.live import EMBEDDING, MODEL, wait_for


@calls("health")
def health(world: World) -> Any:
    answer = world.client.health()
    assert answer.status == "ok"
    return answer


@calls("models.list")
def models_list(world: World) -> Any:
    found = world.client.models.list()
    assert MODEL in {model.handle for model in found}
    return found


@calls("models.embeddings.list")
def models_embeddings_list(world: World) -> Any:
    found = world.client.models.embeddings.list()
    assert EMBEDDING in {model.handle for model in found}
    return found


@calls("runs.retrieve")
def runs_retrieve(world: World) -> Any:
    run = world.client.runs.retrieve(world.run_id)
    assert (run.status, run.stop_reason, run.agent_id) == ("completed", "end_turn", world.agent.id)
    return run


@calls("runs.list")
def runs_list(world: World) -> Any:
    assert world.turn
    page = world.client.runs.list(agent_id=world.agent.id, statuses=["completed"], limit=5)
    assert page.items
    assert {run.agent_id for run in page.items} == {world.agent.id}
    return page


@calls("runs.messages.list")
def runs_messages_list(world: World) -> Any:
    page = world.client.runs.messages.list(world.run_id, order="asc")
    assert [m.message_type for m in page.items] == [
        "user_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    return page


@calls("runs.messages.stream")
def runs_messages_stream(world: World) -> Any:
    run = world.client.agents.messages.create_async(world.new_agent().id, input="[[say followed]]")
    frames = list(world.client.runs.messages.stream(run.id, starting_after=0))
    assert "followed" in [frame.content for frame in frames if frame.message_type == "assistant_message"]
    return frames


@calls("runs.steps.list")
def runs_steps_list(world: World) -> Any:
    page = world.client.runs.steps.list(world.run_id)
    assert len(page.items) == 2
    assert {step.run_id for step in page.items} == {world.run_id}
    return page


@calls("runs.usage.retrieve")
def runs_usage_retrieve(world: World) -> Any:
    usage = world.client.runs.usage.retrieve(world.run_id)
    steps = world.client.runs.steps.list(world.run_id).items
    assert usage.prompt_tokens == sum(step.prompt_tokens for step in steps)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return usage


@calls("runs.trace.retrieve")
def runs_trace_retrieve(world: World) -> Any:
    return wait_for(lambda: world.client.runs.trace.retrieve(world.run_id), what="the run's trace")


@calls("steps.retrieve")
def steps_retrieve(world: World) -> Any:
    step = world.client.steps.retrieve(world.step_id)
    assert (step.run_id, step.status) == (world.run_id, "success")
    return step


@calls("steps.list")
def steps_list(world: World) -> Any:
    assert world.turn
    page = world.client.steps.list(agent_id=world.agent.id, limit=5)
    assert page.items
    assert {step.agent_id for step in page.items} == {world.agent.id}
    return page


@calls("steps.messages.list")
def steps_messages_list(world: World) -> Any:
    page = world.client.steps.messages.list(world.step_id)
    assert "tool_call_message" in {message.message_type for message in page.items}
    return page


@calls("steps.metrics.retrieve")
def steps_metrics_retrieve(world: World) -> Any:
    metrics = world.client.steps.metrics.retrieve(world.step_id)
    assert (metrics.id, metrics.run_id) == (world.step_id, world.run_id)
    assert metrics.llm_request_ns > 0
    return metrics


@calls("steps.trace.retrieve")
def steps_trace_retrieve(world: World) -> Any:
    trace = wait_for(lambda: world.client.steps.trace.retrieve(world.step_id), what="the step's trace")
    assert trace.step_id == world.step_id
    assert trace.request_json["model"]
    return trace


@calls("steps.feedback.create")
def steps_feedback_create(world: World) -> Any:
    step = world.client.steps.feedback.create(world.step_id, feedback="positive", tags=["good"])
    assert step.feedback == "positive"
    return step
