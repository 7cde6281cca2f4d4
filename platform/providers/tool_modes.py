"""Whether a model makes tool calls itself (native) or must be led by a JSON schema (constrained)."""

from __future__ import annotations

import threading

from providers.catalog import ModelInfo, bare, constrained_models
from providers.clients.base import CONSTRAINED, NATIVE, Credential, client_for

_probed: dict[tuple[str | None, str], str] = {}
_lock = threading.Lock()


def tool_mode_of(credential: Credential, info: ModelInfo) -> str:
    """As probed in this process, else as its server says, else as known of the model."""
    probed = _probed.get((credential.base_url, info.name))
    if probed is not None:
        return probed
    if info.tool_mode == CONSTRAINED:
        return CONSTRAINED
    name = bare(info.name)
    return CONSTRAINED if any(part in name for part in constrained_models()) else NATIVE


def probe_tool_mode(credential: Credential, model: str) -> str:
    """Offer the model a tool that it cannot but call, and see; remembered in this process. Raises ProviderError."""
    from providers.clients.constrained import probe

    mode = probe(client_for(credential), model)
    with _lock:
        _probed[(credential.base_url, model)] = mode
    return mode
