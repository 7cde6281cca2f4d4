"""What the answers look like: plain values made from the room's own, and their description for OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, get_type_hints

from rest_framework import serializers

from core.amounts import as_text
from core.rest import EXACT
from telemetry.analytics import LatencyGroup, Question, UsageGroup
from telemetry.explain import Explanation, Line
from telemetry.queries import TraceRow
from telemetry.select import SUM_NAMES, Sums

RATES = ("cache_hit_rate", "error_rate", "mean_latency_ms", "mean_ttft_ms")
FLAGS = frozenset({"is_byok", "is_error", "usage_estimated"})


def sums_out(sums: Sums) -> dict[str, Any]:
    found = {name: getattr(sums, name) for name in (*SUM_NAMES, *RATES)}
    return found | {"cost_usd": money(sums.cost_usd)}


def usage_out(question: Question, group: UsageGroup) -> dict[str, Any]:
    return {**_place(question, group), "is_other": group.is_other, **sums_out(group.sums)}


def latency_out(question: Question, group: LatencyGroup) -> dict[str, Any]:
    figures = {f.name: getattr(group, f.name) for f in fields(group) if f.name not in ("at", "values")}
    return {**_place(question, group), **figures}


def asked_out(question: Question) -> dict[str, Any]:
    return {
        "start": question.start,
        "end": question.end,
        "interval": question.interval,
        "time_zone": question.time_zone,
        "dimensions": list(question.dimensions),
    }


def trace_out(row: TraceRow) -> dict[str, Any]:
    found = {f.name: getattr(row, f.name) for f in fields(row)}
    found |= {name: money(value) for name, value in found.items() if isinstance(value, Decimal)}
    return found | {name: bool(found[name]) for name in FLAGS} | {"agent_tags": list(row.agent_tags)}


def money(value: Decimal | None) -> str | None:
    return None if value is None else as_text(value)


def explanation_out(found: Explanation) -> dict[str, Any]:
    lines = [{f.name: _plain(getattr(line, f.name)) for f in fields(Line)} for line in found.lines]
    rest = {f.name: _plain(getattr(found, f.name)) for f in fields(Explanation)}
    return rest | {"lines": lines, "sentences": list(found.sentences)}


def _plain(value: Any) -> Any:
    return money(value) if isinstance(value, Decimal) else value


def _place(question: Question, group: UsageGroup | LatencyGroup) -> dict[str, Any]:
    return {"at": group.at, "values": dict(zip(question.dimensions, group.values, strict=True))}


def described(name: str, shape: Mapping[str, serializers.Field]) -> type[serializers.Serializer]:
    """A serializer that serves the description alone."""
    return type(name, (serializers.Serializer,), dict(shape))


def _field_of(kind: Any, **options: Any) -> serializers.Field:
    if kind in (int, int | None):
        return serializers.IntegerField(allow_null=kind is not int, **options)
    if kind in (float, float | None):
        return serializers.FloatField(allow_null=kind is not float, **options)
    if kind in (Decimal, Decimal | None):
        return serializers.CharField(allow_null=kind is not Decimal, help_text=EXACT, **options)
    if kind in (datetime, datetime | None):
        return serializers.DateTimeField(allow_null=kind is not datetime, **options)
    if kind is bool:
        return serializers.BooleanField(**options)
    if kind == Sequence[str]:
        return serializers.ListField(child=serializers.CharField(), **options)
    return serializers.CharField(**options)


def _of_dataclass(kind: type, without: Sequence[str] = ()) -> dict[str, serializers.Field]:
    hints = get_type_hints(kind)
    return {
        f.name: _field_of(bool if f.name in FLAGS else hints[f.name]) for f in fields(kind) if f.name not in without
    }


_GROUP = {
    "at": serializers.DateTimeField(allow_null=True, help_text="When the interval begins; null without intervals."),
    "values": serializers.DictField(child=serializers.CharField(), help_text="By dimension; an empty text is “none”."),
}
_SUMS = _of_dataclass(Sums) | {name: _field_of(float | None) for name in RATES}
_OTHER = {"is_other": serializers.BooleanField(help_text="Everything beyond the limit, so that totals stay right.")}
_ASKED = {
    "start": serializers.DateTimeField(),
    "end": serializers.DateTimeField(),
    "interval": serializers.CharField(allow_blank=True),
    "time_zone": serializers.CharField(),
    "dimensions": serializers.ListField(child=serializers.CharField()),
}
SumsShape = described("Sums", _SUMS)
UsageGroupShape = described("UsageGroup", _GROUP | _OTHER | _SUMS)
LatencyGroupShape = described("LatencyGroup", _GROUP | _of_dataclass(LatencyGroup, without=("at", "values")))
Usage = described("Usage", _ASKED | {"groups": UsageGroupShape(many=True), "total": SumsShape()})
Latency = described("Latency", _ASKED | {"groups": LatencyGroupShape(many=True)})
TraceShape = described("TraceRow", _of_dataclass(TraceRow))
TracePage = described(
    "TracePage",
    {
        "items": TraceShape(many=True),
        "next": serializers.CharField(allow_null=True, help_text="“after” of the next page; null when there is none."),
    },
)
_TEXT = "Exactly as sent or received; null when it has expired or was not kept."
TraceDetail = described(
    "TraceDetail",
    _of_dataclass(TraceRow)
    | {
        name: serializers.CharField(allow_null=True, help_text=_TEXT)
        for name in ("request_json", "response_json", "llm_config_json")
    }
    | {
        "is_corrected": serializers.BooleanField(
            help_text="False: ClickHouse does not answer, and the cost is as it was written, before any correction."
        )
    },
)
LineShape = described("CostLine", _of_dataclass(Line))
ExplanationShape = described(
    "CostExplanation",
    _of_dataclass(Explanation, without=("lines", "sentences"))
    | {
        "lines": LineShape(many=True, help_text="They add up to the total exactly."),
        "sentences": serializers.ListField(child=serializers.CharField()),
    },
)
