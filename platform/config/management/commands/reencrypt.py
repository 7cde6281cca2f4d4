"""Encrypt every secret in the database with the first of ENCRYPTION_KEYS, so that the others can be taken away.

Safe to run again, and while the installation runs. What no key opens is named and left as it is.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from core.fields import EncryptedTextField
from core.secrets import Secret, Undecryptable, encrypt, is_current


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        done, unreadable = 0, []
        for model in apps.get_models():
            for field in model._meta.concrete_fields:
                if isinstance(field, EncryptedTextField):
                    changed, left = _reencrypt(model, field.attname)
                    done += changed
                    unreadable += left
        self.stdout.write(f"{done} secrets encrypted with the first key")
        if unreadable:
            raise CommandError(f"No key opens these, enter them anew: {', '.join(unreadable)}")


def _reencrypt(model: type[Model], name: str) -> tuple[int, list[str]]:
    """(how many were changed, the rows that no key opens)."""
    done, unreadable = 0, []
    rows = model._default_manager.exclude(**{name: None})
    for pk, secret in rows.values_list("pk", name):
        if is_current(secret.stored):
            continue
        try:
            fresh = Secret(stored=encrypt(secret.reveal()))
        except Undecryptable:
            unreadable.append(f"{model._meta.label} {pk}")
            continue
        # Only where it is still the same: who enters a new key meanwhile keeps it.
        done += model._default_manager.filter(pk=pk, **{name: secret}).update(**{name: fresh})
    return done, unreadable
