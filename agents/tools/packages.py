"""The packages of custom tools: what a tool asks for, and installing it before a call does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from agents.schemas.tools import PipRequirement
from agents.tools.source_runs import requirements

INSTALL = "agents.install_packages"
Stored = Sequence[Mapping[str, Any]] | None  # a tool's `pip_requirements`


def wanted_by(stored: Stored) -> tuple[str, ...]:
    """As pip reads them."""
    return requirements([PipRequirement(**one) for one in stored or ()])


def install_soon(stored: Stored) -> None:
    """By a task, after the transaction: for whoever makes or changes a tool. What is there already costs nothing."""
    if stored:
        transaction.on_commit(partial(_ask, wanted_by(stored)))


def _ask(wanted: Sequence[str]) -> None:
    with suppress(OperationalError):  # the broker is away: the first call installs them
        current_app.send_task(INSTALL, (list(wanted),), ignore_result=True, retry=False, expires=600)
