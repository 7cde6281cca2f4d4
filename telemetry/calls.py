"""Finding calls: by any dimensions, by how they went, and by words that were said; with their course over time.

Values are bound by the server; the SQL is put together from files and the fixed conditions below alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from core.errors import Invalid
from telemetry.analytics import DIMENSIONS
from telemetry.analytics.sources import DETAIL
from telemetry.client import pool
from telemetry.queries import TraceRow, effective
from telemetry.select import LIMITS, filled, scope
from telemetry.trace import MONEY_STEP, UINT32_MAX, epoch_ms

STEPS = 60
# Of a cost that is -1 where no price is known; a call that failed has none either, and owes nothing.
PRICES = {
    "unpriced": "{cost} < 0 AND {failed} = 0",
    "estimated": "{estimated} = 1",
    "priced": "{cost} >= 0 AND {estimated} = 0",
}
DEAR = "{cost} >= toDecimal128({{min_usd:String}}, 12)"
WRITTEN = {"cost": "ifNull(t.cost_usd, -1)", "failed": "t.is_error", "estimated": "t.usage_estimated"}
CORRECTED = {
    "cost": "argMax(ifNull(r.cost_usd, -1), (r.repriced_at, r.repricing_id))",
    "failed": "any(r.is_error)",
    "estimated": "any(r.usage_estimated)",
}
IDS = {"run": "run_id", "step": "step_id", "trace": "trace_id", "call": "id"}
# How far from a call its neighbours are looked for: a run takes minutes, a conversation may rest for long.
NEAR, FAR = timedelta(days=2), timedelta(days=400)
SHORT, PARTS = timedelta(hours=6), (1 / 256, 1 / 16)
MOST_WORDS = 8
SAID = ("request_json", "response_json")
# One organization's calls lie in the order of their time: a filter by the newest found so far only holds up the others.
IN_ORDER = {"use_top_k_dynamic_filtering": 0}
Side = Literal["before", "after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`organization_id` None: of all that the filters let through, for superusers or with a filter by organization.

    `filters` are by the analytics' dimensions, each with the values of which any may match. `ids`: run, step, trace.
    `words`: each is in what was sent or answered. What is "", None or 0 does not filter. Raises Invalid.
    """

    organization_id: str | None
    start: datetime
    end: datetime
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    failed: bool | None = None
    price: str = ""
    min_ms: int = 0
    min_usd: Decimal | None = None
    words: str = ""

    def __post_init__(self) -> None:
        unknown = [name for name in self.filters if name not in DIMENSIONS] + [n for n in self.ids if n not in IDS]
        if unknown or self.price not in ("", *PRICES):
            raise Invalid(f"{(unknown or [self.price])[0][:40]}: one cannot filter by this.")
        if not 0 <= self.min_ms <= UINT32_MAX:
            raise Invalid(f"The least latency lies between 0 and {UINT32_MAX:,} ms.")
        if self.min_usd is not None and not 0 <= self.min_usd < 10**12:
            raise Invalid("The least cost is an amount of US dollars, like 0.05.")
        if len(self.words.split()) > MOST_WORDS:
            raise Invalid(f"At most {MOST_WORDS} words can be looked for at once.")


@dataclass(frozen=True, slots=True)
class TracePage:
    """`cursor` asks for the page after this one; "" when there is none."""

    rows: Sequence[TraceRow]
    cursor: str


@dataclass(frozen=True, slots=True)
class Step:
    """The calls of one step of time; times are None where none ended well."""

    start: datetime
    end: datetime
    calls: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None


def list_calls(wanted: Wanted, cursor: str = "", limit: int = 50) -> TracePage:
    """Newest first. The cursor is the last row's place, so pages stay right while rows come in."""
    after_at, after_id = _place(cursor)
    params = {"after_at": after_at, "after_id": after_id, "limit": limit + 1}
    rows: Sequence[Sequence[Any]] = []
    for part in _newest_parts(wanted, after_at, limit + 1):
        rows = _select("calls", part, params)
        if len(rows) > limit:
            break
    found = effective(wanted.organization_id, [TraceRow(*row) for row in rows[:limit]])
    return TracePage(found, f"{epoch_ms(found[-1].created_at)}_{found[-1].id}" if len(rows) > limit else "")


def _newest_parts(wanted: Wanted, after_at: int, limit: int) -> Iterator[Wanted]:
    """The time that is asked for, and before it less of it that may do: as many of its last hours as have such calls by
    the sums; where the sums cannot tell, ever larger parts of its end: where calls are many, a few days do."""
    end = min(wanted.end, datetime.fromtimestamp(after_at / 1000 + 1, UTC)) if after_at else wanted.end
    length = end - wanted.start
    if length > SHORT and _sums_tell(wanted):
        hours = [row[0] for row in _select("calls_hours", replace(wanted, end=end), {"limit": limit})]
        oldest = datetime.fromtimestamp(hours[-1], UTC) if hours else end - SHORT
        yield replace(wanted, start=max(wanted.start, oldest), end=end)
        if len(hours) < limit:
            return
    elif length > SHORT:
        yield from (replace(wanted, start=end - length * part, end=end) for part in PARTS)
    yield wanted


def _sums_tell(wanted: Wanted) -> bool:
    """Whether the detailed sums have all that calls are looked for by as it was written. They do not have the source of
    a price so: a call that was priced anew is under its new one."""
    others = wanted.ids or wanted.price or wanted.min_ms or wanted.min_usd or wanted.words or wanted.failed is not None
    known = DETAIL.dimensions - {"price_source"}
    return bool(wanted.filters) and not others and wanted.filters.keys() <= known


def course(wanted: Wanted, steps: int = STEPS) -> list[Step]:
    """All calls that are wanted, by equal steps of time: `steps` of them or one fewer."""
    first, last = epoch_ms(wanted.start), epoch_ms(wanted.end)
    width = max(1, -(-(last - first) // steps))
    found = {row[0]: row[1:] for row in _select("calls_strip", wanted, {"width": width})}
    return [
        _step(first + number * width, min(first + (number + 1) * width, last), found.get(number))
        for number in range(-(-(last - first) // width))
    ]


def beside(row: TraceRow, side: Side, *, within: Literal["run", "conversation"]) -> TraceRow | None:
    """The call before or after this one, of the same run; or of the same agent, kind and conversation."""
    reach = NEAR if within == "run" else FAR
    filters = {"conversation": [row.conversation_id], "agent": [row.agent_id], "call_type": [row.call_type]}
    wanted = Wanted(
        organization_id=row.organization_id,
        start=row.created_at - reach if side == "before" else row.created_at,
        end=row.created_at + (timedelta(milliseconds=1) if side == "before" else reach),
        filters=filters if within == "conversation" else {},
        ids={"run": row.run_id} if within == "run" else {},
    )
    if not (row.run_id if within == "run" else row.conversation_id):
        return None
    constants = {"side": "<" if side == "before" else ">", "order": "DESC" if side == "before" else "ASC"}
    rows = _select("calls_beside", wanted, {"at": epoch_ms(row.created_at), "id": row.id}, constants)
    return TraceRow(*rows[0]) if rows else None


def _step(start: int, end: int, row: Sequence[Any] | None) -> Step:
    span = datetime.fromtimestamp(start / 1000, UTC), datetime.fromtimestamp(end / 1000, UTC)
    if row is None:
        return Step(*span)
    calls, errors, p50, p95 = row
    return Step(*span, calls, errors, *(None if math.isnan(ms) else ms for ms in (p50, p95)))


def _select(
    name: str, wanted: Wanted, params: dict[str, Any], constants: Mapping[str, str] | None = None
) -> Sequence[Sequence[Any]]:
    conditions, values = _conditions(wanted)
    text = filled(name, **(constants or {}), scope=_scope(wanted, "t"), conditions="\n    ".join(conditions))
    if wanted.organization_id is not None:
        values["org"] = wanted.organization_id
    limits = LIMITS if wanted.organization_id is None else LIMITS | IN_ORDER
    return pool().select(
        text, {"start": epoch_ms(wanted.start), "end": epoch_ms(wanted.end), **params, **values}, limits
    )


def _conditions(wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    found = [f"AND {DIMENSIONS[name].condition(f'f_{name}')}" for name in wanted.filters]
    values: dict[str, Any] = {f"f_{name}": list(given) for name, given in wanted.filters.items()}
    for name, value in wanted.ids.items():
        found.append(f"AND t.{IDS[name]} = {{i_{name}:String}}")
        values[f"i_{name}"] = value
    if wanted.failed is not None:
        found.append(f"AND t.is_error = {int(wanted.failed)}")
    if wanted.price:
        found.append(_priced(wanted, PRICES[wanted.price]))
    if wanted.min_ms:
        found.append("AND t.latency_ms >= {min_ms:UInt32}")
        values["min_ms"] = wanted.min_ms
    if wanted.min_usd:
        found.append(_priced(wanted, DEAR))
        values["min_usd"] = f"{wanted.min_usd.quantize(MONEY_STEP):f}"
    for number, word in enumerate(wanted.words.split()):
        values[f"w_{number}"] = [as_written(word), as_written(word, ascii_only=True)]
        values |= {f"t_{number}_{n}": token for n, token in enumerate(_tokens(word))}
    if wanted.words.split():
        found.append(_said(wanted))
    return found, values


def as_written(word: str, *, ascii_only: bool = False) -> str:
    """As JSON has it: a quote or a backslash is escaped, and some vendors' clients escape all that is not ASCII."""
    return json.dumps(word, ensure_ascii=ascii_only)[1:-1]


def _said(wanted: Wanted) -> str:
    """The calls in whose payloads each of the words is. What has none of a word's tokens is not even read."""
    either = "multiSearchAnyCaseInsensitiveUTF8(p.{column}, {{w_{number}:Array(String)}})"
    told = [
        f"AND ({' OR '.join(either.format(column=column, number=number) for column in SAID)}) {_indexed(number, word)}"
        for number, word in enumerate(wanted.words.split())
    ]
    return filled("calls_said", scope=_scope(wanted, "p"), told="\n            ".join(told))


def _tokens(word: str) -> list[str]:
    """How the index has a word: whole, in lower case, and behind the letter of an escaped line end or tab, which it
    takes for the word's first. None where it is of other letters than ASCII's, whose case the index does not know."""
    parts = re.findall(r"[0-9a-z]+", word.lower()) if word.isascii() else []
    longest = max(parts, key=len, default="")
    escaped = ("n", "t", "r") if longest and word.lower().startswith(longest) else ()
    return [prefix + longest for prefix in ("", *escaped)] if longest else []


def _indexed(number: int, word: str) -> str:
    found = [
        f"hasToken(lower(p.{column}), {{t_{number}_{n}:String}})" for column in SAID for n in range(len(_tokens(word)))
    ]
    return f"AND ({' OR '.join(found)})" if found else ""


def _priced(wanted: Wanted, condition: str) -> str:
    either = {"as_written": condition.format(**WRITTEN), "as_corrected": condition.format(**CORRECTED)}
    return filled("calls_priced", scope=_scope(wanted, "r"), **either)


def _scope(wanted: Wanted, table: str) -> str:
    """The first condition of every query, as SQL."""
    if wanted.organization_id is None and "organization" in wanted.filters:
        return f"{table}.organization_id IN {{f_organization:Array(String)}}"
    return scope(wanted.organization_id is None, table)


def _place(cursor: str) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    at, _, call_id = cursor.partition("_")
    if not call_id or not at.isascii() or not at.isdigit() or len(at) > 15:
        raise Invalid("This cursor is none of ours: leave it out to begin at the newest trace.")
    return int(at), call_id
