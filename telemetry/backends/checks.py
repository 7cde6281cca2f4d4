"""Wrong settings of trace back ends, found by `manage.py check`, each with its mend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from telemetry.backends.base import BACKENDS, ReadableBackend, TraceBackend, make

METHODS = ("write", "close", "wrong", "probe")


@register
def check_backends(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    names: list[str] = settings.PROVIDER_TRACE_BACKENDS
    hint = f"PROVIDER_TRACE_BACKENDS takes {', '.join(BACKENDS)}, each once, or classes by their dotted path."
    if not names or len(set(names)) < len(names):
        return [Error("A trace back end is named twice, or none is.", hint=hint, id="telemetry.E010")]
    found: list[TraceBackend] = []
    for name in names:
        try:
            backend = make(name)
        except (ImproperlyConfigured, TypeError) as error:
            return [Error(str(error), hint=hint, id="telemetry.E011")]
        if problem := _problem(backend):
            return [Error(f"The trace back end {name} {problem}.", hint=hint, id="telemetry.E012")]
        found.append(backend)
    wrong = [Error(said, id="telemetry.E013") for backend in found for said in backend.wrong()]
    if not any(isinstance(backend, ReadableBackend) for backend in found):
        mend = "Add clickhouse or postgres to PROVIDER_TRACE_BACKENDS."
        return [*wrong, Warning("What was said to a model cannot be read back.", hint=mend, id="telemetry.W010")]
    return [*wrong]


def _problem(backend: object) -> str:
    if not re.fullmatch("[a-z0-9_]{1,40}", str(getattr(backend, "name", ""))):
        return "has no `name` of small letters, digits and underscores"
    missing = [method for method in METHODS if not callable(getattr(backend, method, None))]
    return f"has no {', '.join(missing)}" if missing else ""
