"""Work on database connections of its own: outside the transaction that a test runs in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def elsewhere(do: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closing, do).result(30)


def closing(do: Callable[[], T]) -> T:
    """Do it, and give this thread's connections back."""
    try:
        return do()
    finally:
        connections.close_all()
