"""The usage page: any metric over time, by any two dimensions, filtered, down to the calls; as chart, table and CSV."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from console.charts import OTHER_NAME
from console.export import csv_response
from console.paging import link_with
from console.periods import PRESETS, range_fields
from console.registry import Page, fallbacks, register_page
from core.errors import Invalid
from telemetry.admin import metrics
from telemetry.admin.answer import Answer, answer, rows_address
from telemetry.admin.asked import INTERVALS, NOTHING, Asked, reach, read, with_added_filter
from telemetry.admin.dimensions import BY_KEY, SHOWN
from telemetry.admin.groups import Group, Matrix, figure
from telemetry.client import TelemetryUnavailable

TEMPLATE = "console/telemetry/usage.html"
LATENCIES = ("latency_p50", "latency_p95", "latency_p99", "ttft_p50", "ttft_p95", "ttft_p99")
# The figures of the table beside the metric that is asked for.
TABLE = ("spend", "tokens", "input", "cache_read", "cache_write", "output", "calls", "errors", "cache_rate")


def usage_view(request: HttpRequest) -> HttpResponse:
    if request.GET.get("add") and request.GET.get("value", "").strip():
        return HttpResponseRedirect(with_added_filter(request))
    asked = read(request)
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Usage", "asked": asked, **_choices(asked)}
    found = reach(request, asked.filters)
    if found is None:
        return TemplateResponse(request, TEMPLATE, {**context, "none": True})
    try:
        answered = answer(asked, found)
    except TelemetryUnavailable as error:
        known = fallbacks(request, asked.period)
        return TemplateResponse(request, TEMPLATE, {**context, "trouble": error.message, "fallbacks": known})
    except Invalid as error:
        return TemplateResponse(request, TEMPLATE, {**context, "refused": error.message})
    if request.GET.get("format") == "csv":
        return _csv(request.GET.get("of", "table"), asked, answered)
    context |= {
        "answer": answered,
        "table": _table(asked, answered),
        "all_rows": rows_address(asked.period, asked.filters, asked.metric.key),
        "chart_csv": link_with(request, format="csv", of="chart"),
        "table_csv": link_with(request, format="csv", of="table"),
        "as_matrix": asked.address(view=""),
        "as_list": asked.address(view="list"),
        "shows_matrix": answered.matrix is not None and asked.view != "list",
        "whole": answered.chart.whole,
        "owing": metrics.owing(answered.totals),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _choices(asked: Asked) -> dict[str, Any]:
    taken = [*asked.by, "", ""]
    return {
        "metric_groups": metrics.groups(),
        "intervals": INTERVALS,
        "dimensions": [shown for shown in SHOWN if shown.known],
        "first": taken[0] or NOTHING,
        "second": taken[1],
        "nothing": NOTHING,
        "presets": PRESETS,
        **range_fields(asked.period),
        "chips": asked.chips(),
        "cleared": asked.address(filters={}),
        "other_parameters": other_parameters(asked, ("period", "start", "end")),
        "form_parameters": other_parameters(asked, ("metric", "by", "interval", "view")),
        "all_parameters": other_parameters(asked, ()),
        "is_fullwidth": "1",
        "by_labels": [BY_KEY[key].label for key in asked.by],
    }


def other_parameters(asked: Asked, without: Iterable[str]) -> list[tuple[str, str]]:
    """What a form on the page sends along, so that it changes nothing but its own."""
    left = set(without)
    return [(name, value) for name, value in parse_qsl(asked.address()[1:]) if name not in left]


def _shown(asked: Asked) -> list[metrics.Metric]:
    keys = ("calls", *LATENCIES) if asked.metric.is_latency else TABLE
    found = [metrics.BY_KEY[key] for key in keys]
    return found if asked.metric in found else [asked.metric, *found]


def _table(asked: Asked, answered: Answer) -> dict[str, Any]:
    """The groups, each with every figure that the page can say of it, and the figure in full."""
    shown = _shown(asked)
    whole = Group((), (), answered.totals, answered.latency)
    return {
        "metrics": shown,
        "rows": [{"group": group, "cells": _cells(shown, group)} for group in answered.groups],
        "totals": _cells(shown, whole),
    }


def _cells(shown: Iterable[metrics.Metric], group: Group) -> list[tuple[str, str]]:
    found = []
    for metric in shown:
        value = figure(metric, group)
        if metric.key == "spend" and not value and metrics.owing(group.sums):
            value = None  # said as “unpriced”: it is not free
        found.append((metric.say(value), metric.exact(value)))
    return found


def _csv(which: str, asked: Asked, answered: Answer) -> HttpResponse:
    """The chart as time, series, figure; the table with names and ids; figures in full."""
    name = f"{asked.metric.key}-{asked.period.start:%Y%m%d}-{asked.period.end:%Y%m%d}"
    if which == "chart":
        series = BY_KEY[asked.by[0]].label if asked.by else "Series"
        return csv_response(f"{name}-by-{asked.interval}", ["Time (UTC)", series, _head(asked.metric)], answered.raw)
    labels = [BY_KEY[key].label for key in asked.by]
    if answered.matrix is not None and asked.view != "list":
        return _matrix_csv(f"{name}-by-{'-and-'.join(asked.by)}", labels, answered.matrix)
    shown = _shown(asked)
    header = [*labels, *(f"{text} (id)" for text in labels), *(_head(metric) for metric in shown)]
    rows = []
    for group in answered.groups:
        ids = (OTHER_NAME,) * len(labels) if group.is_other else group.values
        rows.append([*group.names, *ids, *(figure(metric, group) for metric in shown)])
    return csv_response(f"{name}-by-{'-'.join(asked.by) or 'nothing'}", header, rows)


def _matrix_csv(name: str, labels: list[str], matrix: Matrix) -> HttpResponse:
    rows = [[line.name, *(cell.value for cell in line.cells), line.total.value] for line in matrix.lines]
    totals = ["Total", *(cell.value for cell in matrix.totals), matrix.whole.value]
    return csv_response(name, [" / ".join(labels), *matrix.columns, "Total"], [*rows, totals])


def _head(metric: metrics.Metric) -> str:
    return f"{metric.label} ({metric.unit})" if metric.unit and metric.unit != "tokens" else metric.label


register_page(Page("usage/", "telemetry_usage", usage_view))
