"""When a request for approval expires: as its tools, its agent or the installation say, in this order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings

from conversations.rows import Row
from conversations.turn import Work


def expires_at(work: Work, names: Iterable[str], asked_at: str) -> str | None:
    """ISO text. The tool that waits the shortest counts, since a request is answered as a whole. None: never."""
    agents = work.agent.approval_expires_s
    common = settings.APPROVAL_EXPIRES_S if agents is None else agents
    own = [work.tools[name]["approval_expires_s"] if name in work.tools else None for name in names]
    spans = [span for span in (common if one is None else one for one in own) if span]
    return (datetime.fromisoformat(asked_at) + timedelta(seconds=min(spans))).isoformat() if spans else None


def of_request(rows: Iterable[Row]) -> datetime | None:
    """Of the request among the rows of a step."""
    found = next((row["stats"] for row in rows if row["role"] == "approval" and row["approvals"] is None), None)
    at = (found or {}).get("expires_at")
    return datetime.fromisoformat(at) if at else None
