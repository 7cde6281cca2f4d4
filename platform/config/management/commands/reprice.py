"""Price calls of a span of days anew, with today's price data. Rows stay; corrections and the reason stand beside them.

Steps, runs and budgets keep what was charged then. When it is interrupted, go on by --resume.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Organization
from conversations import repricing
from conversations.ledger_models import Repricing
from core.errors import AppError
from core.ids import is_id


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", help="org-…")
        parser.add_argument("--from", dest="start", type=date.fromisoformat, help="The first day, YYYY-MM-DD (UTC).")
        parser.add_argument("--to", dest="end", type=date.fromisoformat, help="The last day, itself included.")
        parser.add_argument("--model", default="", help="The vendor's name of one model; all, if not given.")
        parser.add_argument("--only-unpriced", action="store_true", help="Only calls that have no price.")
        parser.add_argument("--reason", default="", help="Kept with each correction, and in the audit log.")
        parser.add_argument("--actor", default="", help="user-…: in whose name.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would change, and change nothing.")
        parser.add_argument("--resume", help="repricing-…: go on with one that was interrupted.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["dry_run"]:
                changes = repricing.preview(_plan(options))
                self.stdout.write(repricing.table(changes) if changes else "Nothing would change.")
                return
            job = _resumed(options["resume"]) if options["resume"] else repricing.begin(_plan(options))
            self.stdout.write(f"{job.pk}: {job.start} to {job.end}, by {job.price_data}")
            changes = repricing.work(job, self._progress)
        except AppError as error:
            raise CommandError(error.message) from error
        self.stdout.write(repricing.table(changes) if changes else "Nothing had to be corrected.")

    def _progress(self, job: Repricing) -> None:
        self.stdout.write(f"{job.seen} calls seen")


def _plan(options: dict[str, Any]) -> repricing.Plan:
    missing = [f"--{name}" for name, key in _NEEDED if not options[key]]
    if missing:
        raise CommandError(f"Give {', '.join(missing)}.")
    organization = options["organization"]
    if not is_id("org", organization) or not Organization.objects.filter(pk=organization).exists():
        raise CommandError(f"There is no organization {organization}.")
    return repricing.Plan(
        organization_id=organization,
        start=options["start"],
        end=options["end"],
        reason=options["reason"],
        model=options["model"],
        only_unpriced=options["only_unpriced"],
        actor_id=options["actor"],
    )


_NEEDED = (("organization", "organization"), ("from", "start"), ("to", "end"))


def _resumed(job_id: str) -> Repricing:
    job = Repricing.objects.filter(pk=job_id).first() if is_id("repricing", job_id) else None
    if job is None:
        raise CommandError(f"There is no {job_id}.")
    if job.finished_at is not None:
        raise CommandError(f"{job_id} was finished at {job.finished_at:%Y-%m-%d %H:%M}.")
    return job
