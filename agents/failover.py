"""Which models stand by for an agent's own: named in order, each asked when the one before it cannot answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import BadInput
from providers.errors import ConnectionFailed, Overloaded, ProviderError, RateLimited, Timeout
from providers.resolve import Asker, ResolvedModel, resolve

log = logging.getLogger(__name__)
REASONS = (ConnectionFailed, Overloaded, RateLimited, Timeout)


def check(organization_id: str, settings: Mapping[str, Any] | None, project_id: str = "") -> None:
    """Raises BadInput where `fallback_models` names what is no language model of the organization."""
    for handle in (settings or {}).get("fallback_models") or ():
        if resolve(organization_id, handle, project_id).info.kind != "llm":
            raise BadInput(f"fallback_models: {handle} is an embedding model, it cannot stand by for a language model.")


class StandBy:
    """The models that are left to ask, of one wanted answer."""

    def __init__(self, asker: Asker, handles: Sequence[str]) -> None:
        self._asker = asker
        self._left = list(handles)

    def after(self, failed: ResolvedModel, error: ProviderError) -> ResolvedModel | None:
        """The next one. None where there is none, or where the failure would be the same with another model."""
        while self._left and isinstance(error, REASONS):
            handle, asker = self._left.pop(0), self._asker
            try:
                other = resolve(asker.organization_id, handle, asker.project_id, asker.identity_id)
            except BadInput as gone:
                log.warning("%s cannot stand by: %s", handle, gone)
                continue
            if other.info.handle != failed.info.handle:
                log.warning("%s failed (%s): asking %s instead", failed.info.handle, error.error_type, handle)
                return other
        return None
