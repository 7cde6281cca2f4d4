"""Whether a model, and settings for it, are such as an agent or a conversation can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents import failover
from agents.schemas.model_settings import refuse_other_type
from providers.resolve import resolve


def check(organization_id: str, model: str, settings: Mapping[str, Any] | None, project_id: str = "") -> None:
    """Raises BadInput for a model that is not there, and for settings of another vendor than the model's."""
    refuse_other_type(settings or {}, resolve(organization_id, model, project_id).info)
    failover.check(organization_id, settings, project_id)
