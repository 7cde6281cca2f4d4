"""Sends what stands in rows that are to be told of: at least once, later and later while it fails, then no more.

One row at a time is taken, in a short transaction that counts the attempt and holds the row; the sending is outside of
it. A row whose holder died is free again after `held`, so that it may be sent twice and is never lost.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models import Model, QuerySet

from core.outbound import NotDelivered
from core.time import now

R = TypeVar("R", bound=Model)


class Outbox(ABC, Generic[R]):
    """`attempts`, `holds`: the columns that count the attempts, and until when a row is held; the latter may be the
    one that says when it is due. `held`: longer than a sending can last."""

    attempts: str
    holds: str
    held: timedelta

    @abstractmethod
    def due(self, at: datetime) -> QuerySet[R]:
        """What may be taken, the first first."""

    @abstractmethod
    def send(self, row: R) -> Any:
        """What `sent` is to know of it. No connection may be held meanwhile. Raises NotDelivered."""

    @abstractmethod
    def sent(self, row: R, answer: Any, at: datetime) -> None:
        """Note that it was taken by its receiver."""

    @abstractmethod
    def failed(self, row: R, error: NotDelivered, at: datetime) -> None:
        """Note when the next attempt is, if any."""

    def deliver(self, at: datetime | None = None, *, seconds: float) -> int:
        """Send what is due, for some seconds; how many were taken by their receivers."""
        end, sent = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            row = self.take(at or now())
            if row is None:
                break
            sent += self.attempt(row, at or now())
        return sent

    @transaction.atomic
    def take(self, at: datetime) -> R | None:
        row = self.due(at).select_for_update(skip_locked=True, of=("self",)).first()
        if row is not None:
            setattr(row, self.attempts, getattr(row, self.attempts) + 1)
            setattr(row, self.holds, at + self.held)
            row.save(update_fields=[self.attempts, self.holds])
        return row

    def attempt(self, row: R, at: datetime) -> bool:
        """Whether a row that was taken was taken by its receiver too."""
        try:
            answer = self.send(row)
        except NotDelivered as error:
            self.failed(row, error, at)
            return False
        except Exception:
            # A fault of ours: it is raised, but must not be met again with every round.
            self.failed(row, NotDelivered("The server failed at sending it; its log says how."), at)
            raise
        self.sent(row, answer, at)
        return True

    def settle(self, row: R, columns: dict[str, Any]) -> None:
        """Not where another has taken it meanwhile: then its word counts."""
        rows = type(row)._default_manager.filter(pk=row.pk, **{self.holds: getattr(row, self.holds)})
        rows.update(**columns)


def later(pauses: Sequence[timedelta], failures: int, at: datetime) -> datetime:
    """When to try again after so many failures; the last pause goes for all further ones."""
    return at + pauses[min(failures, len(pauses)) - 1]
