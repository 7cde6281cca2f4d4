"""What a page of figures is asked for: its address, read with suspicion, and written again with something changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode

from django.http import HttpRequest, QueryDict

from console.access import figure_organizations
from console.periods import Period, chosen
from core.errors import Invalid
from telemetry.admin.dimensions import (
    BY_KEY,
    LONGEST,
    MOST_VALUES,
    SHOWN,
    Chip,
    Filters,
    from_address,
    in_address,
    words,
)
from telemetry.admin.metrics import BY_KEY as METRICS
from telemetry.admin.metrics import Metric
from telemetry.analytics import Question

INTERVALS = ("hour", "day", "week", "month")
HOURS_AT_MOST, DAYS_AT_MOST = timedelta(days=14), timedelta(days=400)
AUTO, NOTHING = "", "-"
ORDERS = {
    "spend": "cost_usd",
    "tokens": "total_tokens",
    "input": "prompt_tokens",
    "cache_read": "prompt_tokens",
    "cache_write": "prompt_tokens",
    "cache_rate": "prompt_tokens",
    "output": "completion_tokens",
    "reasoning": "completion_tokens",
    "errors": "errors",
    "error_rate": "errors",
    "unpriced": "unpriced_calls",
}


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose rows are asked for: one organization, or (None) all of those that the filters let through."""

    organization_id: str | None
    filters: Filters


@dataclass(frozen=True, slots=True)
class Asked:
    """`chosen_interval` "": as fits the period. `by`: what is grouped by, none to two. `problems`: to be said."""

    period: Period
    metric: Metric
    by: tuple[str, ...]
    filters: Filters
    chosen_interval: str = AUTO
    view: str = ""
    problems: tuple[str, ...] = ()

    @property
    def interval(self) -> str:
        return self.chosen_interval or fitting(self.period)

    def address(self, **changes: object) -> str:
        """The query string of this page; `changes` go over the fields."""
        return query_of(replace(self, **changes))  # type: ignore[arg-type]

    def chips(self) -> list[Chip]:
        return chips(self.filters, lambda left: self.address(filters=left))


def fitting(period: Period) -> str:
    """Steps of time that make a readable chart."""
    for interval, longest in (("hour", 2), ("day", 62), ("week", 400)):
        if period.length <= timedelta(days=longest):
            return interval
    return "month"


def read(request: HttpRequest) -> Asked:
    """What cannot be understood is said, and left out."""
    period = chosen(request)
    problems = [period.problem] if period.problem else []
    given = request.GET
    metric = METRICS.get(given.get("metric", "spend"))
    if metric is None:
        problems.append("There is no such metric: spend is shown.")
        metric = METRICS["spend"]
    interval = _interval(given.get("interval", AUTO), period, problems)
    filters = read_filters(given, problems)
    by = _groups(given, problems)
    return Asked(period, metric, by, filters, interval, "list" if given.get("view") == "list" else "", tuple(problems))


def read_filters(given: QueryDict, problems: list[str]) -> Filters:
    found: Filters = {}
    for shown in SHOWN:
        values = list(dict.fromkeys(from_address(value.strip()) for value in given.getlist(shown.key) if value.strip()))
        if not values:
            continue
        if len(values) > MOST_VALUES or any(len(value) > LONGEST or "\0" in value for value in values):
            problems.append(f"{shown.label}: at most {MOST_VALUES} values of {LONGEST} characters are looked for.")
            continue
        found[shown.key] = values
    return found


def reach(request: HttpRequest, filters: Filters) -> Reach | None:
    """None: the filters ask for organizations that are not the operator's, or there is none."""
    organizations = figure_organizations(request)
    if organizations == [None]:
        return Reach(None, filters)
    rest = {key: values for key, values in filters.items() if key != "organization"}
    wanted = [one for one in organizations if one is not None and one in filters.get("organization", [one])]
    if not wanted:
        return None
    return Reach(wanted[0], rest) if len(wanted) == 1 else Reach(None, {**rest, "organization": wanted})


def with_added_filter(request: HttpRequest, also: Sequence[str] = ()) -> str:
    """The address that `add` and `value` ask for, without the two; `also` are parameters of one value."""
    query = request.GET.copy()
    key, value = query.get("add", ""), query.get("value", "").strip()
    for name in ("add", "value", "after"):
        query.pop(name, None)
    if key in also:
        query[key] = value
    elif key in BY_KEY and value not in query.getlist(key):
        query.appendlist(key, value[: LONGEST + 1])
    return f"{request.path}?{query.urlencode()}"


def question(asked: Asked, found: Reach, by: Sequence[str], interval: str, limit: int) -> Question:
    """Raises Invalid."""
    if found.organization_id is None and not found.filters.get("organization", ["all"]):
        raise Invalid("No organization is asked for.")
    return Question(
        found.organization_id,
        asked.period.start,
        asked.period.end,
        dimensions=tuple(by),
        interval=interval,
        filters=found.filters,
        order_by=ORDERS.get(asked.metric.key, "calls"),
        limit=limit,
    )


def query_of(asked: Asked) -> str:
    pairs = [*asked.period.query.items(), ("metric", asked.metric.key)]
    if asked.chosen_interval:
        pairs.append(("interval", asked.chosen_interval))
    pairs += [("by", key) for key in asked.by] or [("by", NOTHING)]
    if asked.view:
        pairs.append(("view", asked.view))
    return f"?{urlencode([*pairs, *filter_pairs(asked.filters)])}"


def filter_pairs(filters: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(key, in_address(value)) for key, values in filters.items() for value in values]


def chips(filters: Filters, address: object) -> list[Chip]:
    """`address` takes the filters that stay and gives the query string."""
    found = []
    for key, values in filters.items():
        names = words(key, values)
        for value in values:
            left = {k: [v for v in vs if (k, v) != (key, value)] for k, vs in filters.items()}
            without = address({k: vs for k, vs in left.items() if vs})  # type: ignore[operator]
            found.append(Chip(BY_KEY[key].label, names[value], without))
    return found


def _interval(name: str, period: Period, problems: list[str]) -> str:
    if name == AUTO:
        return AUTO
    if name not in INTERVALS:
        problems.append("There is no such interval: hours, days, weeks and months there are.")
        return AUTO
    longest = {"hour": HOURS_AT_MOST, "day": DAYS_AT_MOST}.get(name)
    if longest and period.length > longest:
        problems.append(f"By the {name}, at most {longest.days} days can be drawn: longer steps are shown.")
        return AUTO
    return name


def _groups(given: QueryDict, problems: list[str]) -> tuple[str, ...]:
    asked = [key for key in dict.fromkeys(given.getlist("by")) if key]
    if not asked:
        return ("model",)
    if NOTHING in asked:
        asked = [key for key in asked if key != NOTHING]
    unknown = [key for key in asked if key not in BY_KEY]
    if unknown:
        problems.append(f"One cannot group by “{unknown[0][:40]}”.")
    found = [key for key in asked if key in BY_KEY]
    if len(found) > 2:
        problems.append("At most two groupings fit on a page: the first two are shown.")
    return tuple(found[:2])
