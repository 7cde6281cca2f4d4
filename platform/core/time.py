"""Times as the wire shows them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def to_seconds(at: datetime) -> str:
    """ISO 8601 cut to whole seconds, as `LettaMessage.date`."""
    return at.astimezone(UTC).replace(microsecond=0).isoformat()


def to_ms(earlier: datetime, later: datetime) -> int:
    return round((later - earlier).total_seconds() * 1000)


def aware(at: datetime | None) -> datetime | None:
    """A time without a zone is UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
