"""The database connection of a thread, given back where it would only be held."""

from __future__ import annotations

from django.db import connection


def release_connection() -> None:
    """Give this thread's connection back to the pool before a long wait; within a transaction it has to stay."""
    if not connection.in_atomic_block:
        connection.close()
