"""Filters by the names of columns, as `/api` takes them and exports keep them, as a search for calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from telemetry.calls import Wanted

BEGINNING, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# Of these names, what the dimensions and ids of a search are called.
DIMENSIONS = {
    "project_id": "project",
    "agent_id": "agent",
    "conversation_id": "conversation",
    "provider_key_id": "provider_key",
    "identity_id": "end_user",
    "api_key_id": "api_key",
    **{name: name for name in ("call_type", "provider", "model", "error_type", "tag")},
}
IDS = {"run_id": "run", "step_id": "step", "trace_id": "trace"}
TEXTS = (*DIMENSIONS, *IDS)
FLAGS = ("is_error", "is_byok")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilters:
    """What is "" or None does not filter."""

    start: datetime | None = None
    end: datetime | None = None
    project_id: str = ""
    agent_id: str = ""
    conversation_id: str = ""
    run_id: str = ""
    step_id: str = ""
    trace_id: str = ""
    call_type: str = ""
    provider: str = ""
    provider_key_id: str = ""
    model: str = ""
    identity_id: str = ""
    api_key_id: str = ""
    error_type: str = ""
    tag: str = ""
    is_error: bool | None = None
    is_byok: bool | None = None


def wanted_by(organization_id: str | None, filters: TraceFilters, **more: Any) -> Wanted:
    """`more`: what a search takes besides, such as words and prices. Raises Invalid."""
    asked = {dimension: [value] for name, dimension in DIMENSIONS.items() if (value := getattr(filters, name))}
    if filters.is_byok is not None:
        asked["is_byok"] = [str(filters.is_byok).lower()]
    return Wanted(
        organization_id=organization_id,
        start=filters.start or BEGINNING,
        end=filters.end or END,
        filters=asked,
        ids={kind: value for name, kind in IDS.items() if (value := getattr(filters, name))},
        failed=filters.is_error,
        **more,
    )
