"""Encrypt every secret in the database with the first of ENCRYPTION_KEYS, so that the others can be taken away.

Safe while the installation runs, in several copies at once, and to be killed at any time: run it again, and it goes on
with what is left. Every column of the kind is found by looking at the models. What no key opens is named and left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.db.models import Field, Model

from core.fields import EncryptedTextField
from core.secrets import Secret, Undecryptable, current_prefix, encrypt

BATCH = 200
PASSES = 3
SHOWN = 50


@dataclass(slots=True)
class _Found:
    """What became of one column's secrets in one pass; `overtaken` were written by somebody else meanwhile."""

    done: int = 0
    overtaken: int = 0
    unreadable: list[str] = field(default_factory=list)


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=BATCH, help="Rows in one transaction.")
        parser.add_argument("--check", action="store_true", help="Say what is left to do, and change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        done, unreadable = 0, []
        for model, column in columns():
            if not options["check"]:
                found = self._column(model, column, max(1, options["batch"]))
                done += found.done
                unreadable += found.unreadable
        if not options["check"]:
            self.stdout.write(f"{done} secrets encrypted with the first key")
        self._report()
        if unreadable:
            more = f" and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
            raise CommandError(f"No key opens these, enter them anew: {', '.join(unreadable[:SHOWN])}{more}")

    def _column(self, model: type[Model], column: Field[Any, Any], batch: int) -> _Found:
        """Until a pass finds nothing that was overtaken: a whole row saved meanwhile brings its old ciphertext back."""
        total = _Found()
        for _ in range(PASSES):
            found = _Found()
            for stored in _batches(model, column, batch):
                _reencrypt(model, column, stored, found)
                self.stderr.write(f"{model._meta.label}.{column.name}: {total.done + found.done} done")
            total.done += found.done
            total.unreadable = found.unreadable
            if not found.overtaken:
                break
        return total

    def _report(self) -> None:
        """How many secrets each key still opens, and which keys may go."""
        left: Counter[str] = Counter()
        for model, column in columns():
            left += _by_key(model, column)
        first, *others = [entry.partition(":")[0] for entry in settings.ENCRYPTION_KEYS]
        self.stdout.write(f"Key “{first}” (the first): {left.pop(first, 0)} secrets")
        for key_id in others:
            count = left.pop(key_id, 0)
            if count:
                self.stdout.write(f"Key “{key_id}”: {count} secrets left. Keep it, and run this again.")
            else:
                self.stdout.write(
                    f"Key “{key_id}”: nothing left. It may be taken out of ENCRYPTION_KEYS once every web, worker and"
                    " shipper process was restarted with the new first key and this was run again since."
                )
        for key_id, count in sorted(left.items()):
            self.stdout.write(f"Key “{key_id}”: {count} secrets, but it is not in ENCRYPTION_KEYS: put it back.")


def columns() -> Iterator[tuple[type[Model], Field[Any, Any]]]:
    """Every encrypted column of every table, once."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or not model._meta.managed:
            continue
        for column in model._meta.local_concrete_fields:
            if isinstance(column, EncryptedTextField):
                yield model, column


def _batches(model: type[Model], column: Field[Any, Any], size: int) -> Iterator[list[tuple[Any, Secret]]]:
    """Rows that another key than the first encrypted, in the order of their primary key."""
    rows = model._base_manager.exclude(**{column.name: None}).extra(  # noqa: S610 - the one name in it is our own
        where=[f"{_quoted(model, column)} <> '' AND NOT starts_with({_quoted(model, column)}, %s)"],
        params=[current_prefix()],
    )
    after = None
    while True:
        wanted = rows if after is None else rows.filter(pk__gt=after)
        found = list(wanted.order_by("pk").values_list("pk", column.name)[:size])
        if not found:
            return
        after = found[-1][0]
        yield found


def _reencrypt(model: type[Model], column: Field[Any, Any], rows: list[tuple[Any, Secret]], found: _Found) -> None:
    with transaction.atomic():
        for pk, secret in rows:
            try:
                fresh = Secret(stored=encrypt(secret.reveal()))
            except Undecryptable:
                found.unreadable.append(f"{model._meta.label} {pk}")
                continue
            # Only where it is still the same: who enters a new key meanwhile keeps it.
            same = model._base_manager.filter(pk=pk, **{column.name: secret})
            if same.update(**{column.name: fresh}):
                found.done += 1
            else:
                found.overtaken += 1


def _by_key(model: type[Model], column: Field[Any, Any]) -> Counter[str]:
    name = _quoted(model, column)
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT split_part({name}, ':', 2), count(*) FROM {table} WHERE {name} <> '' GROUP BY 1")  # noqa: S608
        return Counter(dict(cursor.fetchall()))


def _quoted(model: type[Model], column: Field[Any, Any]) -> str:
    quote = connection.ops.quote_name
    return f"{quote(model._meta.db_table)}.{quote(column.column or column.name)}"
