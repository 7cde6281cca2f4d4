"""What an agent's tools find among their environment variables: kept encrypted, written by callers and never read back.

`secrets` and the older `tool_exec_environment_variables` of the wire are one and the same set.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from django.db.models import QuerySet

from accounts import audit
from accounts.access import Caller
from accounts.audit import Deed
from agents.models import Agent, AgentVariable
from agents.schemas.variables import UNREADABLE, VALUE_MASK, VariableOut
from core.errors import Invalid
from core.secrets import Secret, Undecryptable

log = logging.getLogger(__name__)


def variables_of(agent_id: str) -> dict[str, str]:
    """By name, in clear text: for a tool's process and nothing else. What no key opens is left out."""
    found = {}
    for name, value in AgentVariable.objects.filter(agent_id=agent_id).order_by("key").values_list("key", "value"):
        try:
            found[name] = value.reveal()
        except Undecryptable as problem:
            log.warning("secret %s of %s is left out: %s", name, agent_id, problem)
    return found


def set_variables(caller: Caller, agent: Agent, given: Mapping[str, str]) -> list[AgentVariable]:
    """Make these the agent's variables. A value that is the mask an answer shows stays what it is.

    Call it in the transaction that holds the agent. Raises Invalid for a mask where nothing is behind it.
    """
    stored = {row.key: row for row in AgentVariable.objects.filter(agent=agent)}
    kept = {name for name, value in given.items() if value in (VALUE_MASK, UNREADABLE)}
    if unknown := sorted(kept - set(stored)):
        raise Invalid(f"secrets.{unknown[0]}: this is what answers show in place of a value. Send the value itself.")
    AgentVariable.objects.filter(agent=agent).exclude(key__in=kept).delete()
    rows = [
        AgentVariable(
            agent=agent,
            key=name,
            value=Secret(plain=value),
            created_by_id=caller.user_id,
            last_updated_by_id=caller.user_id,
        )
        for name, value in given.items()
        if name not in kept
    ]
    AgentVariable.objects.bulk_create(rows)
    before, after = {"names": sorted(stored)}, {"names": sorted(given)}
    deed = Deed(action="agent.secrets", target=agent.pk, before=before, after=after)
    audit.note(caller.organization_id, caller.actor_id, deed)
    return sorted([*rows, *(stored[name] for name in kept)], key=lambda row: row.key)


def load_variables(agent_ids: Iterable[str]) -> QuerySet[AgentVariable]:
    """One query."""
    return AgentVariable.objects.filter(agent_id__in=list(agent_ids)).order_by("key")


def variable_out(row: AgentVariable) -> VariableOut:
    return VariableOut(
        id=row.pk,
        agent_id=row.agent_id,
        key=row.key,
        value=VALUE_MASK if row.value.readable else UNREADABLE,
        description=row.description,
        created_by_id=row.created_by_id,
        last_updated_by_id=row.last_updated_by_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
