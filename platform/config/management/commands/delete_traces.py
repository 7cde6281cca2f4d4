"""Delete the traces of an organization, an agent or an end user, and print the receipt."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import AppError
from telemetry.deletion import Request, advance, again, preview, request_deletion
from telemetry.models.deletion import DeletionState, Scope, TraceDeletion

LOOK_EVERY_S = 1.0


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", nargs="?", help="org-…")
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--agent", default="", help="agent-…: its traces alone; sums stay")
        who.add_argument("--identity", default="", help="an end user's id: their traces alone; sums stay")
        who.add_argument("--everything", action="store_true", help="all of the organization, its sums included")
        who.add_argument("--resume", default="", metavar="DELETION", help="deletion-…: go on with one that was begun")
        parser.add_argument("--reason", default="")
        parser.add_argument("--yes", action="store_true", help="without it, only what would go is counted")
        parser.add_argument("--queue", action="store_true", help="leave the work to the workers")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(options)
        except AppError as error:
            raise CommandError(error.message) from error

    def _handle(self, options: dict[str, Any]) -> None:
        if options["resume"]:
            again(options["resume"])
            self._work(options["resume"])
            return
        asked = _request(options)
        if not options["yes"]:
            for store, table, rows in preview(asked):
                self.stdout.write(f"{store}.{table}: {rows} rows")
            self.stdout.write("Nothing is deleted yet: say --yes.")
            return
        row = request_deletion(asked)
        self.stdout.write(f"{row.pk} is queued")
        if not options["queue"]:
            self._work(str(row.pk))

    def _work(self, deletion_id: str) -> None:
        """Until it is done; who interrupts this leaves the rest to the workers."""
        said = ""
        while True:
            while advance(deletion_id):
                pass
            row = TraceDeletion.objects.filter(pk=deletion_id).first()
            if row is None:
                raise CommandError(f"There is no {deletion_id}.")
            if row.state == DeletionState.DONE:
                self.stdout.write(json.dumps({"receipt": row.receipt, "sha256": row.receipt_sha256}, indent=2))
                return
            if row.state == DeletionState.FAILED:
                raise CommandError(f"It failed: {row.waits_for} Mend that, then --resume {row.pk}.")
            if row.waits_for != said:
                said = row.waits_for
                self.stderr.write(f"{row.deleted} rows are deleted; waiting for {said or 'a worker that is at it'}")
            time.sleep(LOOK_EVERY_S)


def _request(options: dict[str, Any]) -> Request:
    target = options["agent"] or options["identity"]
    if not options["organization"] or not (target or options["everything"]):
        raise CommandError("Name an organization, and one of --agent, --identity, --everything.")
    scope = Scope.AGENT if options["agent"] else Scope.IDENTITY if options["identity"] else Scope.ORGANIZATION
    return Request(organization_id=options["organization"], scope=scope, target_id=target, reason=options["reason"])
