"""What a custom tool may do in the sandbox beyond what all may: an administrator's word, kept in the audit."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.audit import Deed, note
from agents.memory import touch_prompt
from agents.models import Agent, Tool


@transaction.atomic
def grant(tool: Tool, *, network: bool, timeout_s: int | None, actor_id: str) -> None:
    """The tool reaches public addresses, and a call of it may take so long (None: as long as any)."""
    before = _shown(Tool.objects.select_for_update().get(pk=tool.pk))
    tool.network, tool.timeout_s, tool.last_updated_by_id = network, timeout_s, actor_id
    tool.save(update_fields=["network", "timeout_s", "last_updated_by_id", "updated_at"])
    if before != _shown(tool):
        touch_prompt(Agent.objects.filter(agenttool__tool=tool).values_list("pk", flat=True))
        deed = Deed(action="tool.grant", target=str(tool.pk), before=before, after=_shown(tool))
        note(str(tool.organization_id), actor_id, deed)


def _shown(tool: Tool) -> dict[str, Any]:
    return {"network": tool.network, "timeout_s": tool.timeout_s}
