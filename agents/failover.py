"""Which models stand by for an agent's own: named in order, each asked when the one before it cannot answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from agents import circuits
from agents.circuits import REASONS
from core.errors import BadInput
from providers.errors import ProviderError
from providers.resolve import Asker, ResolvedModel, resolve

log = logging.getLogger(__name__)


def check(organization_id: str, settings: Mapping[str, Any] | None, project_id: str = "") -> None:
    """Raises BadInput where `fallback_models` names what is no language model of the organization."""
    for handle in (settings or {}).get("fallback_models") or ():
        if resolve(organization_id, handle, project_id).info.kind != "llm":
            raise BadInput(f"fallback_models: {handle} is an embedding model, it cannot stand by for a language model.")


def note_turning(failed: ResolvedModel, error: ProviderError, other: ResolvedModel) -> None:
    log.warning("%s failed (%s): asking %s instead", failed.info.handle, error.error_type, other.info.handle)


class StandBy:
    """The models that are left to ask, of one wanted answer."""

    def __init__(self, asker: Asker, handles: Sequence[str]) -> None:
        self._asker = asker
        self._left = list(handles)
        self._passed_over: ResolvedModel | None = None

    def instead_of(self, target: ResolvedModel) -> ResolvedModel | None:
        """What to ask first, where the circuit of the model that comes first is open: that one then comes last.

        None where it is to be asked after all: its circuit is closed, those of all others are open too, or another
        key stands in for its own, which goes before another model.
        """
        if not self._left or target.stand_ins or not circuits.is_open(target):
            return None
        for handle in list(self._left):
            other = self._resolved(handle)
            if other is not None and other.info.handle != target.info.handle and not circuits.is_open(other):
                log.info("%s has failed time after time: asking %s first", target.info.handle, handle)
                self._left.remove(handle)
                self._passed_over = target
                return other
        return None

    def after(self, failed: ResolvedModel, error: ProviderError) -> ResolvedModel | None:
        """The next one. None where there is none, or where the failure would be the same with another model."""
        while self._left and isinstance(error, REASONS):
            handle = self._left.pop(0)
            other = self._resolved(handle)
            if other is not None and other.info.handle != failed.info.handle:
                note_turning(failed, error, other)
                return other
        last, self._passed_over = self._passed_over, None
        return last if isinstance(error, REASONS) else None

    def _resolved(self, handle: str) -> ResolvedModel | None:
        asker = self._asker
        try:
            return resolve(asker.organization_id, handle, asker.project_id, asker.identity_id)
        except BadInput as gone:
            log.warning("%s cannot stand by: %s", handle, gone)
            return None
