"""What a custom tool may do in the sandbox beyond what all may: an administrator's word, kept in the audit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.forms.models import model_to_dict

from accounts.audit import Deed, note
from agents.memory import touch_prompt
from agents.models import Agent, Tool
from agents.tools.packages import install_soon
from agents.tools.server_client import packages_with_client


@dataclass(frozen=True, kw_only=True)
class Grant:
    """`network`: public addresses. `client`: this server's own API. `timeout_s`: how long a call may take (None: as
    long as any)."""

    network: bool = False
    client: bool = False
    timeout_s: int | None = None


@transaction.atomic
def grant(tool: Tool, granted: Grant, actor_id: str) -> None:
    before = _shown(Tool.objects.select_for_update().get(pk=tool.pk))
    tool.network, tool.client, tool.timeout_s = granted.network, granted.client, granted.timeout_s
    tool.last_updated_by_id = actor_id
    tool.save(update_fields=["network", "client", "timeout_s", "last_updated_by_id", "updated_at"])
    if before != asdict(granted):
        touch_prompt(Agent.objects.filter(agenttool__tool=tool).values_list("pk", flat=True))
        deed = Deed(action="tool.grant", target=str(tool.pk), before=before, after=asdict(granted))
        note(str(tool.organization_id), actor_id, deed)
        install_soon(packages_with_client(model_to_dict(tool)), tool.metadata)


def _shown(tool: Tool) -> dict[str, Any]:
    return asdict(Grant(network=tool.network, client=tool.client, timeout_s=tool.timeout_s))
