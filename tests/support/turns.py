"""Turns driven in this process: an agent of the scripted provider, a send, and as many steps as it takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import redis as redis_client
from django.conf import settings

from agents.actions import create_agent
from agents.models import Agent, AgentTool, Block
from agents.schemas.agents import CreateAgent
from conversations import runner
from conversations.actions import Send, Started, start_run
from conversations.inputs import SendBody, StreamingBody, fingerprint, options_of, otids_key, rows_of
from conversations.models import ACTIVE, Conversation, Message, Run
from core.time import now
from streams.publish import stream_key
from telemetry import segments
from telemetry.recorder import recorder
from telemetry.trace import COLUMNS
from tests.support.api import Tenant
from tests.support.factories import HANDLE

BLOCKS = ({"label": "human", "value": "Name: ?"}, {"label": "persona", "value": "I am brief."})
Sent = str | list[dict[str, Any]]


def thinker(tenant: Tenant, **fields: Any) -> Conversation:
    """The default conversation of an agent that was made as the API makes it."""
    known: dict[str, Any] = {"name": "Sam", "model": HANDLE, "memory_blocks": list(BLOCKS), "system": "Be brief."}
    made = create_agent(tenant.caller, CreateAgent.model_validate(known | fields))
    return fresh(made.agent)


def fresh(agent: Agent | Conversation) -> Conversation:
    """The conversation as it is stored now."""
    found = Conversation.objects.select_related("agent")
    if isinstance(agent, Conversation):
        return found.get(pk=agent.pk)
    return found.get(agent=agent, is_default=True)


def needs_approval(conversation: Conversation, *names: str) -> None:
    AgentTool.objects.filter(agent=conversation.agent, tool__name__in=names).update(requires_approval=True)


def send(tenant: Tenant, conversation: Conversation, sent: Sent, **options: Any) -> Run:
    """A queued run. `sent`: the input, or the messages as the wire has them."""
    return sending(tenant, conversation, sent, **options).run


def sending(tenant: Tenant, conversation: Conversation, sent: Sent, **options: Any) -> Started:
    body = body_of(sent, options)
    key = otids_key(body)
    made = Send(
        rows=rows_of(body),
        options=options_of(body),
        background=options.get("background", False),
        idempotency_key=key,
        request_hash=fingerprint(body) if key else "",
    )
    return start_run(tenant.caller, fresh(conversation), made)


def body_of(sent: Sent, options: dict[str, Any]) -> SendBody:
    streaming = "stream_tokens" in options or "background" in options
    source: dict[str, Any] = {"input" if isinstance(sent, str) else "messages": sent, "streaming": streaming}
    return StreamingBody.model_validate(source | options)


def work(run: Run, most: int = 60) -> Run:
    """Advance the run until it ends or waits."""
    for _ in range(most):
        runner.advance(run.pk)
        run.refresh_from_db()
        if run.status not in ACTIVE:
            return run
    raise AssertionError(f"{run.pk} has not ended after {most} steps")


def turn(tenant: Tenant, conversation: Conversation, sent: Sent, **options: Any) -> Run:
    return work(send(tenant, conversation, sent, **options))


def lose(run: Run) -> None:
    """As if the worker that holds the run had died some time ago."""
    Run.objects.filter(pk=run.pk).update(lease_expires_at=now() - timedelta(seconds=60))


def messages(conversation: Conversation) -> list[tuple[str, str]]:
    """(role, text) of what is in context, but for the system message."""
    found = Message.objects.filter(conversation=conversation, in_context=True, seq__gt=0).order_by("seq")
    return [(message.role, message.text) for message in found]


def block(conversation: Conversation, label: str = "human") -> str:
    return Block.objects.get(agents=conversation.agent_id, label=label).value


def events(run: Run) -> list[dict[str, Any]]:
    """All that the run's followers were told."""
    client: Any = redis_client.Redis.from_url(settings.REDIS_URL)
    try:
        return [orjson.loads(fields[b"e"]) for _, fields in client.xrange(stream_key(run.pk))]
    finally:
        client.close()


def kinds(run: Run) -> list[str]:
    return [event["type"] for event in events(run)]


def rang() -> list[tuple[str, int]]:
    """(run, step) of each ring that waits for a worker, taken off the bell."""
    client: Any = redis_client.Redis.from_url(settings.REDIS_URL)
    try:
        found = []
        while raw := client.rpop("runs"):
            headers = orjson.loads(raw)["headers"]
            run_id, step = headers["argsrepr"].strip("()").split(", ")
            found.append((run_id.strip("'"), int(step)))
        return found
    finally:
        client.close()


def traces(run: Run | str) -> list[dict[str, Any]]:
    """The model calls of a run as they were written down, by column, in the order of their start."""
    run_id = run if isinstance(run, str) else run.pk
    recorder().flush()
    rows: dict[str, dict[str, Any]] = {}
    for path in segments.listed(recorder().directory, segments.OPEN, segments.SEALED):
        for record in segments.records(path.read_bytes()):
            if record.is_end:
                lengths, found, _ = record.parse()
                row = dict(zip(COLUMNS, found, strict=True))
                request, response, _ = record.payloads(lengths)
                rows[row["id"]] = row | {"request": request, "response": response}
    mine = [row for row in rows.values() if row["run_id"] == run_id]
    return sorted(mine, key=lambda row: row["created_at"])
