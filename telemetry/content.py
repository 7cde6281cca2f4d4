"""How much of a call is written down: the organization's policy, and what it leaves of request, response and errors.

Keys and headers are left out whatever the policy says. Where it cannot be said that all was masked, nothing is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import orjson
from django.conf import settings
from django.utils.module_loading import import_string

from core.db import release_connection
from core.ids import is_id
from telemetry.masking import KINDS, CustomRule, Masker, MaskingFailed, masker_for
from telemetry.masking.masker import Analyzer
from telemetry.models.policy import TracePolicy
from telemetry.trace import FULL, MASKED, METADATA, CallEnd, CallStart, dump

log = logging.getLogger(__name__)

ROWS_TTL_S = 5.0
LONGEST_ERROR = 20_000
PRESIDIO = "telemetry.masking.presidio.Presidio"
GONE = b"[secret]"
ONLY_SECRETS = masker_for(frozenset({"secret"}))
EVERYTHING = masker_for(frozenset(KINDS))


@dataclass(frozen=True, slots=True)
class Policy:
    """`masker` is None where the policy needs an analyzer that cannot be had: then nothing said is kept."""

    content: str
    masker: Masker | None


@dataclass(frozen=True, slots=True)
class _Known:
    policy: Policy
    at: float


_known: dict[str, _Known] = {}


def policy_of(organization_id: str) -> Policy:
    """At most five seconds old. Never raises: what cannot be read is taken for the strictest."""
    found = _known.get(organization_id)
    if found is not None and time.monotonic() - found.at < ROWS_TTL_S:
        return found.policy
    try:
        policy = _read(organization_id)
    except Exception as error:
        # Whatever fails here (the database above all) must fail no run, and give nothing away.
        log.warning("The trace policy of %s cannot be read: %s", organization_id, type(error).__name__)
        policy = found.policy if found is not None else Policy(METADATA, None)
    _known[organization_id] = _Known(policy, time.monotonic())
    return policy


def forget(organization_id: str) -> None:
    """Read the policy anew: it was changed."""
    _known.pop(organization_id, None)


def _read(organization_id: str) -> Policy:
    row = None
    if is_id("org", organization_id):
        row = TracePolicy.objects.filter(organization_id=organization_id).first()
        release_connection()
    if row is None:
        return Policy(settings.TRACE_CONTENT, _masker(frozenset(KINDS), (), bool(settings.TRACE_ANALYZER)))
    custom = tuple(CustomRule(rule["name"], rule["pattern"]) for rule in row.custom_rules)
    return Policy(row.content, _masker(frozenset(row.masked_kinds), custom, row.use_analyzer))


def _masker(kinds: frozenset[str], custom: tuple[CustomRule, ...], analyzed: bool) -> Masker | None:
    if not analyzed:
        return masker_for(kinds, custom)
    try:
        found = analyzer(settings.TRACE_ANALYZER)
    except ImportError as error:
        log.error("The trace analyzer cannot be had, so nothing that was said is kept: %s", error)
        return None
    return masker_for(kinds, custom, found)


@lru_cache(maxsize=4)
def analyzer(name: str) -> Analyzer:
    """By dotted path; for short `presidio`, or `presidio:<model of spaCy>`. ImportError says what to install."""
    if not name:
        raise ImportError("TRACE_ANALYZER is not set")
    short, _, model = name.partition(":")
    if short == "presidio":
        return cast(Analyzer, import_string(PRESIDIO)(*filter(None, [model])))
    return cast(Analyzer, import_string(name)())


# What is left of a call


def kept(start: CallStart, end: CallEnd) -> tuple[CallEnd, Sequence[bytes]]:
    """The end as it is to be written (its response only counts for its size), and the three payloads."""
    policy = policy_of(start.organization_id)
    content, masker = policy.content, policy.masker
    request, response = start.request_json, end.response_json
    message = end.error_message[:LONGEST_ERROR]
    try:
        if content == MASKED:
            if masker is None:
                raise MaskingFailed("there is no analyzer")
            request, response = masker.payload(request), masker.payload(response)
        elif content == FULL and end.error_type:
            response = ONLY_SECRETS.payload(response)
        if message:
            message = (ONLY_SECRETS if content == FULL else masker or EVERYTHING).text(message)
            message = ONLY_SECRETS.text(message)
    except Exception as error:
        # A trace is worth no failed run, and a doubt no leak: the payload goes, the figures stay.
        why = str(error) if isinstance(error, MaskingFailed) else type(error).__name__
        log.warning("A call of %s is kept without what was said: %s", start.organization_id, why)
        content, message = METADATA, "(not kept: it could not be masked)" if message else ""
    if content == METADATA:
        request = response = b""
    payloads = [request, response, dump(_config(start))]
    for secret in start.secrets:
        message = message.replace(secret, GONE.decode())
        written = orjson.dumps(secret)[1:-1]
        payloads = [p.replace(written, GONE) if written in p else p for p in payloads]
    return replace(end, error_message=message, content=content), payloads


def _config(start: CallStart) -> dict[str, Any]:
    config = dict(start.llm_config)
    if config.get("model_endpoint"):
        config["model_endpoint"] = endpoint(str(config["model_endpoint"]))
    return config


@lru_cache(maxsize=1024)
def endpoint(url: str) -> str:
    """An address without what may be secret in it: user, password, query, fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
