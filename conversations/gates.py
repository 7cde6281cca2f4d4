"""What a send must pass before a run is made of it, and what a stop does to the runs that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Q

from accounts.access import Caller
from budgets import gate, limits
from budgets.facts import Facts, counter_of
from budgets.limits import Standing
from budgets.models import LimitKind, Scope, Stop
from conversations.models import ACTIVE, Run
from core.errors import BadInput, LimitExceeded
from providers.resolve import ResolvedModel, resolve

RETRY_PARALLEL_S = 5.0
MAX_DEPTH = 4
_COLUMNS = {
    Scope.ORGANIZATION: "organization_id",
    Scope.PROJECT: "project_id",
    Scope.AGENT: "agent_id",
    Scope.API_KEY: "api_key_id",
    Scope.END_USER: "identity_id",
}


def check_sender(caller: Caller, agent_id: str) -> dict[str, int]:
    """What a run keeps of a tool that sent it. A tool does not speak to the agent that waits for it, and agents do not
    call each other without end. Raises BadInput, LimitExceeded."""
    if not caller.agent_id:
        return {}
    if caller.agent_id == agent_id:
        raise BadInput("A tool cannot send messages to the agent that it works for: return what it should know.")
    if caller.depth >= MAX_DEPTH:
        raise LimitExceeded(f"Tools of {MAX_DEPTH} agents called one another already: the last one sends nobody more.")
    return {"depth": caller.depth + 1}


def facts_of(run: Run, target: ResolvedModel) -> Facts:
    return Facts(
        organization_id=run.organization_id,
        project_id=run.project_id or "",
        agent_id=run.agent_id,
        api_key_id=run.api_key_id,
        end_user=run.identity_id,
        model=target.info.handle,
        provider_key=target.provider_id or target.info.provider_name,
    )


@dataclass(frozen=True, slots=True)
class Passed:
    """How the rate limits stand behind a send; `facts` None: the organization has no rules at all."""

    facts: Facts | None = None
    standings: Sequence[Standing] = ()

    @property
    def headers(self) -> dict[str, str]:
        return limits.headers_of(self.standings)


def check(run: Run, target: ResolvedModel) -> Passed:
    """Raises Stopped, RateLimitExceeded, BudgetExceeded."""
    if not gate.has_rules(run.organization_id):
        return Passed()
    facts = facts_of(run, target)
    return Passed(facts, gate.check_send(facts))


def check_parallel(run: Run, passed: Passed) -> None:
    """In the transaction that makes the run: those who count the same runs come one after another."""
    facts = passed.facts
    if facts is None:
        return
    found = limits.applying(facts, LimitKind.PARALLEL_RUNS)
    for limit, target in sorted(found, key=lambda pair: (pair[0].pk, pair[1])):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{limit.pk} {target}"])
        column = _COLUMNS[Scope(limit.scope)]
        active = Run.objects.filter(organization_id=run.organization_id, status__in=ACTIVE)
        active = active.exclude(waits_turn=True, steers=True)  # they are a part of another
        if active.filter(**{column: facts.of(limit.scope)}).count() >= limit.amount:
            raise limits.exceeded(limit, target, "Wait for one of its runs to end, or cancel one.", RETRY_PARALLEL_S)


def runs_of(stop: Stop) -> list[Run]:
    """The runs under way that a stop is about."""
    active = Run.objects.filter(organization_id=stop.organization_id, status__in=ACTIVE)
    if stop.scope == Scope.PROJECT:
        of_agents = Q(project_id=None, agent__project_id=stop.target)
        return list(active.filter(Q(project_id=stop.target) | of_agents))
    if stop.scope in _COLUMNS:
        return list(active.filter(**{_COLUMNS[Scope(stop.scope)]: stop.target or stop.organization_id}))
    runs = active.select_related("conversation__agent")
    return [run for run in runs if counter_of(stop.scope, stop.target, _facts_by_handle(run)) is not None]


def _facts_by_handle(run: Run) -> Facts:
    conversation = run.conversation
    handle = run.options.get("override_model") or conversation.model or conversation.agent.model
    try:
        return facts_of(run, resolve(run.organization_id, handle, run.project_id or "", run.identity_id))
    except BadInput:  # its model is gone: it can call none
        return Facts(organization_id=run.organization_id)
