"""What is known of a call or a send before it is made, and which rules that touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase

from budgets.models import EACH, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """On whose behalf. Empty: none, or not known yet. `provider_key`: the provider's id, of a base one its name."""

    organization_id: str
    project_id: str = ""
    agent_id: str = ""
    api_key_id: str = ""
    end_user: str = ""
    model: str = ""
    provider_key: str = ""

    def of(self, scope: str) -> str:
        return _VALUES[scope](self)


def named(organization_id: str, given: Mapping[str, str]) -> Facts:
    """What somebody asks about, by the names of scopes."""
    return Facts(
        organization_id=organization_id,
        project_id=given["project"],
        agent_id=given["agent"],
        api_key_id=given["api_key"],
        end_user=given["end_user"],
        model=given["model"],
        provider_key=given["provider_key"],
    )


_VALUES = {
    Scope.ORGANIZATION.value: lambda facts: facts.organization_id,
    Scope.PROJECT.value: lambda facts: facts.project_id,
    Scope.AGENT.value: lambda facts: facts.agent_id,
    Scope.API_KEY.value: lambda facts: facts.api_key_id,
    Scope.END_USER.value: lambda facts: facts.end_user,
    Scope.MODEL.value: lambda facts: facts.model,
    Scope.PROVIDER_KEY.value: lambda facts: facts.provider_key,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a call costs, in each unit that a budget may count. `usd` None: its price is unknown."""

    usd: Decimal | None = Decimal(0)
    tokens: int = 0
    calls: int = 1

    def of(self, metric: str) -> Decimal:
        return (self.usd or Decimal(0)) if metric == "usd" else Decimal(getattr(self, metric))


def counter_of(scope: str, target: str, facts: Facts) -> str | None:
    """The name of the counter that a rule gives these facts; None where it is not about them."""
    if scope == Scope.ORGANIZATION:
        return ""
    value = facts.of(scope)
    if not value:
        return None
    if target == EACH:
        return value[:255]
    if target == value or (scope == Scope.MODEL and "*" in target and fnmatchcase(value, target)):
        return target
    return None
