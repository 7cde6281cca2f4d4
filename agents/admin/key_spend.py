"""What own keys cost this month: the providers' pages ask here, since they do not know where traces are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from core.time import now
from providers.admin.spend import KeySpend, register
from telemetry.analytics import Question, usage


def spend_of_keys(provider_ids: Sequence[str]) -> Mapping[str, KeySpend]:
    """Raises AppError where ClickHouse does not answer. The ids were read in the caller's own scope."""
    at = now()
    question = Question(
        organization_id=None,
        start=at.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        end=at + timedelta(minutes=5),
        dimensions=("provider_key",),
        filters={"provider_key": list(provider_ids)},
        limit=max(1, len(provider_ids)),
    )
    return {
        group.values[0]: KeySpend(group.sums.calls, group.sums.errors, group.sums.unpriced_calls, group.sums.cost_usd)
        for group in usage(question)
        if not group.is_other
    }


register(spend_of_keys)
