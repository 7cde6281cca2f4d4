"""The columns that the lists of runs and of steps share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.admin_base import ReadOnlyAdmin
from console.display import DASH, badge, count, link, span, usd, when

BUCKETS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


def tokens_of(usage: Any) -> int:
    """All tokens of a stored usage: its disjoint buckets added up."""
    return sum(int(usage.get(name) or 0) for name in BUCKETS) if isinstance(usage, dict) else 0


class SpentAdmin(ReadOnlyAdmin):
    """Of what an agent did, with its tokens, cost and times."""

    ended_well: ClassVar[str]  # the status in which a missing cost means that no price is known
    list_select_related = ("agent", "organization")
    list_fullwidth = True
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("agent", "organization")

    @admin.display(description="status", ordering="status")
    def state(self, obj: Any) -> SafeString:
        return badge(obj.status)

    @admin.display(description="begun", ordering="created_at")
    def begun(self, obj: Any) -> SafeString | str:
        return when(obj.created_at)

    @admin.display(description="agent")
    def agent_link(self, obj: Any) -> SafeString | str:
        return link(str(obj.agent_id), obj.agent.name)

    @admin.display(description="tokens")
    def tokens(self, obj: Any) -> str:
        return count(tokens_of(obj.usage))

    @admin.display(description="cost", ordering="cost_usd")
    def cost(self, obj: Any) -> str:
        return DASH if obj.cost_usd is None and obj.status != self.ended_well else usd(obj.cost_usd)

    @admin.display(description="first token", ordering="ttft_ms")
    def first(self, obj: Any) -> str:
        return span(obj.ttft_ms)
