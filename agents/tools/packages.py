"""The packages of custom tools: what a tool asks for, and installing it before a call does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from agents.sandbox.base import Packages
from agents.sandbox.configured import chosen_by
from agents.sandbox.npm import Npm
from agents.sandbox.pip import Pip
from agents.sandbox.requirements import NotInstallable
from core.errors import Invalid

INSTALL = "agents.install_packages"
Stored = Sequence[Mapping[str, Any]] | None  # a tool's `pip_requirements` or `npm_requirements`


def packages_of(source_type: str | None, pip: Stored, npm: Stored) -> Packages:
    """Those of the tool's language; the others would be in nobody's reach."""
    if source_type == "typescript":
        return Packages("typescript", _names(npm, "@"))
    return Packages("python", _names(pip, "=="))


def check_names(pip: Stored, npm: Stored) -> None:
    """Raises Invalid for what is more than a name and a version."""
    for field, names, checked in (
        ("pip_requirements", _names(pip, "=="), Pip.checked),
        ("npm_requirements", _names(npm, "@"), Npm.checked),
    ):
        try:
            checked(names)
        except NotInstallable as problem:
            raise Invalid(f"{field}: {problem}.") from None


def install_soon(packages: Packages, metadata: Mapping[str, Any] | None) -> None:
    """By a task, after the transaction: for whoever makes or changes a tool. What is there already costs nothing."""
    if packages.names:
        transaction.on_commit(partial(_ask, packages, chosen_by(metadata)))


def _names(stored: Stored, sign: str) -> tuple[str, ...]:
    return tuple(f"{one['name']}{sign}{one['version']}" if one.get("version") else one["name"] for one in stored or ())


def _ask(packages: Packages, where: str) -> None:
    arguments = (list(packages.names), packages.language, where)
    with suppress(OperationalError):  # the broker is away: the first call installs them
        current_app.send_task(INSTALL, arguments, ignore_result=True, retry=False, expires=600)
