"""Budgets as an operator reads them: figures in their unit, a gauge, the state, the forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from budgets.models import EACH, ID_PREFIXES, Budget, Metric, Rule, Scope, Window
from budgets.states import EXCEEDED, OFF, OK, WARNING, State
from console.admin_base import BoundedChangeList
from console.display import badge, count, link, percent, usd, when
from console.registry import names_of

TONES = {OK: "good", WARNING: "warn", EXCEEDED: "bad", OFF: "plain"}
WORDS = {OK: "ok", WARNING: "near its end", EXCEEDED: "used up", OFF: "off"}


def figure(budget: Budget, amount: Decimal | None) -> str:
    if amount is None:
        return "–"
    if budget.metric == Metric.USD:
        return usd(amount)
    return f"{count(amount)} {budget.get_metric_display()}"


def per(budget: Budget) -> str:
    """In which time: a month in Europe/Berlin; the last 24 hours."""
    if budget.window == Window.ROLLING:
        return f"the last {budget.rolling_hours} hours"
    zone = "" if budget.time_zone == "UTC" else f" ({budget.time_zone})"
    return f"{budget.window}{zone}"


def names(targets: Iterable[str]) -> dict[str, str]:
    """What agents, projects and keys are called, in a query for each kind that is among them."""
    wanted = list(targets)
    found: dict[str, str] = {}
    for kind in ID_PREFIXES.values():
        found |= names_of(kind, wanted)
    return found


def about(rule: Rule, called: Mapping[str, str] | None = None) -> SafeString | str:
    """Whom a rule is about, by its name where that is given, with a link where it has a page."""
    if rule.scope == Scope.ORGANIZATION or rule.target == EACH:
        return rule.about
    label = Scope(rule.scope).label
    return format_html("{} {}", label, link(rule.target, (called or {}).get(rule.target) or rule.target[:40]))


class NamedChangeList(BoundedChangeList):
    """The names of what a page's rules are about, read at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)  # type: ignore[has-type]
        called = names(row.target for row in rows)
        for row in rows:
            row.called = called
        self.result_list = rows


def gauge(state: State) -> SafeString:
    """How much is used: a bar, and the same in words."""
    budget, width = state.budget, min(100, round(state.share * 100))
    return format_html(
        '<span class="pn-gauge pn-{}" aria-hidden="true"><span style="width: {}%"></span></span>'
        '<span class="pn-small">{} of {} ({})</span>',
        TONES[state.word],
        width,
        figure(budget, state.used).removesuffix(f" {budget.get_metric_display()}"),
        figure(budget, state.limit),
        percent(state.share),
    )


def state_badge(state: State) -> SafeString:
    word = WORDS[state.word]
    if state.word == EXCEEDED and not state.budget.hard:
        word = "over (soft)"
    return badge(word, TONES[state.word])


def forecast(state: State) -> SafeString | str:
    """When it will be reached at this pace."""
    if state.word == EXCEEDED:
        return "reached"
    if state.reached_at is not None:
        return format_html("reached {}", when(state.reached_at))
    if state.projected is None:
        return "too early to tell" if state.resets_at else "–"
    return format_html("{} by then", figure(state.budget, state.projected))
