"""Celery's side of this room."""

from __future__ import annotations

import logging

from celery import shared_task

from agents.sandbox.base import Language, Packages
from agents.sandbox.configured import sandbox
from agents.tools.packages import INSTALL

log = logging.getLogger(__name__)


@shared_task(name=INSTALL, ignore_result=True)
def install_packages(wanted: list[str], language: Language = "python", where: str = "") -> None:
    """On the worker's own disk: a worker elsewhere installs them when it first needs them. `where`: another back end
    than the installation's."""
    log.info("%s: %s", ", ".join(wanted), sandbox(where).prepare(Packages(language, tuple(wanted))))
