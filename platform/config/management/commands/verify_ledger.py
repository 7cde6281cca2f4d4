"""Count a day's calls again, from what was said to prices, sums and steps. Fails where anything disagrees."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Organization
from conversations.ledger_audit import Audit, audit, keep, organizations_of
from core.ids import is_id
from core.time import now
from telemetry.client import TelemetryUnavailable

SHOWN = 100


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--day", type=date.fromisoformat, help="YYYY-MM-DD, UTC. Yesterday, if not given.")
        parser.add_argument("--organization", help="org-…; all that called on that day, if not given.")
        parser.add_argument("--json", action="store_true", help="One JSON object a line for each organization.")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["day"] or now().date() - timedelta(days=1)
        disagree = 0
        try:
            for organization_id in _asked(options["organization"]) or organizations_of(day):
                found = audit(organization_id, day)
                keep(found)
                disagree += not found.agrees
                self.stdout.write(json.dumps(found.as_json()) if options["json"] else said(found))
        except TelemetryUnavailable as error:
            raise CommandError(f"{error.message} Nothing can be said of the day without it.", returncode=2) from error
        if disagree:
            raise CommandError(f"The ledger of {day} does not agree for {disagree} organizations.", returncode=1)
        if not options["json"]:
            self.stdout.write(f"The ledger of {day} agrees.")


def _asked(organization_id: str | None) -> list[str]:
    if not organization_id:
        return []
    if not is_id("org", organization_id) or not Organization.objects.filter(pk=organization_id).exists():
        raise CommandError(f"There is no organization {organization_id}.")
    return [organization_id]


def said(found: Audit) -> str:
    """For people."""
    verdict = "agrees" if found.agrees else f"{found.mismatch_count} mismatches"
    lines = [f"{found.organization_id}: {found.calls} calls, {found.steps} steps: {verdict}"]
    lines += [f"  {one.kind:<13} {one.id}: {one.said}" for one in found.mismatches[:SHOWN]]
    if found.mismatch_count > SHOWN:
        lines.append(f"  … and {found.mismatch_count - SHOWN} more")
    lines += [f"  not checked   {times} calls: {reason}" for reason, times in sorted(found.unchecked.items())]
    return "\n".join(lines)
