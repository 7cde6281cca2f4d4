"""Whether a model makes tool calls itself (native) or must be led by a JSON schema (constrained)."""

from __future__ import annotations

from providers.catalog import ModelInfo, bare, constrained_models
from providers.clients.base import CONSTRAINED, NATIVE


def tool_mode_of(info: ModelInfo) -> str:
    """As its server says, else as known of the model."""
    if info.tool_mode == CONSTRAINED:
        return CONSTRAINED
    name = bare(info.name)
    return CONSTRAINED if any(part in name for part in constrained_models()) else NATIVE
