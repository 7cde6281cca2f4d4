"""Why a call costs what it costs: in lines that add up, and in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.explain import explain, recomputed
from telemetry.queries import TraceRow
from telemetry.repriced import Repricing
from telemetry.trace import COLUMNS, END_DEFAULTS, CallEnd, CallStart, end_row, filled, start_row

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
START = CallStart(
    id="c", organization_id="o", call_type="agent_step", provider="openai", model="m", created_at=AT, request_json=b""
)
MONEY = frozenset(name for name in COLUMNS if name.startswith(("rate_", "cost_", "given_")) or name == "price_factor")
RATES: dict[str, Any] = {
    "rate_input": Decimal(3),
    "rate_cache_read": Decimal("0.3"),
    "rate_cache_write_5m": Decimal("3.75"),
    "rate_cache_write_1h": Decimal(6),
    "rate_output": Decimal(15),
}


def row(**end: Any) -> TraceRow:
    """As it comes back from ClickHouse."""
    written = dict(zip(COLUMNS, [*start_row(START), *end_row(CallEnd(**end))], strict=True))
    for name in MONEY:
        written[name] = None if written[name] is None else Decimal(written[name])
    return TraceRow(**written | {"created_at": AT})


def said(found: TraceRow) -> str:
    return " ".join(explain(found).sentences)


def test_each_bucket_is_a_line_and_a_discount_is_in_every_line() -> None:
    found = row(
        input_tokens=100,
        cache_read_tokens=1000,
        cache_write_5m_tokens=10,
        cache_write_1h_tokens=20,
        output_tokens=7,
        reasoning_tokens=5,
        cost_usd=Decimal("0.00077625"),
        price_source="genai-prices 0.2",
        price_tier="flex+long",
        price_confidence="assumed",
        price_factor=Decimal("0.9"),
        **RATES,
    )
    why = explain(found)
    assert [(line.bucket, line.tokens, line.rate_usd, line.cost_usd) for line in why.lines] == [
        ("input", 100, Decimal(3), Decimal("0.00027")),
        ("cache_read", 1000, Decimal("0.3"), Decimal("0.00027")),
        ("cache_write_5m", 10, Decimal("3.75"), Decimal("0.00003375")),
        ("cache_write_1h", 20, Decimal(6), Decimal("0.000108")),
        ("output", 7, Decimal(15), Decimal("0.0000945")),
    ]
    assert sum(line.cost_usd for line in why.lines) == why.total_usd == recomputed(found)
    assert (why.tier, why.confidence, why.factor) == ("flex+long", "assumed", Decimal("0.9"))
    words = " ".join(why.sentences)
    for part in ("Terms: flex, long.", "discount of 10 %", "5 of the output tokens are reasoning", "stands in"):
        assert part in words


@pytest.mark.parametrize(
    ("end", "lines", "words"),
    [
        ({"price_source": "unpriced"}, [], "No price is known for openai/m"),
        ({"cost_usd": Decimal(0), "price_source": "local"}, [], "own machine"),
        ({"cost_usd": Decimal(0), "price_source": "not_billed"}, [], "refused the call"),
        (
            {
                "cost_usd": Decimal("0.55"),
                "given_cost_usd": Decimal("0.5"),
                "price_factor": Decimal("1.1"),
                "price_source": "provider",
            },
            [("given", Decimal("0.55"))],
            "margin of 10 %",
        ),
        ({"cost_usd": Decimal(2), "price_source": "genai-prices 0.1"}, [("recorded", Decimal(2))], "were not kept"),
        (
            {"cost_usd": Decimal(2), "price_source": "estimated", "error_type": "worker_lost", "usage_estimated": True},
            [("recorded", Decimal(2))],
            "The worker died",
        ),
        ({"input_tokens": 3, "reported_total_tokens": 5, "price_source": "unpriced"}, [], "reports 5 tokens"),
        ({"content": "metadata", "price_source": "unpriced"}, [], "nothing of the content was kept"),
    ],
)
def test_what_is_no_sum_of_buckets_is_said_in_words(end: Any, lines: Any, words: str) -> None:
    found = row(**end)
    assert [(line.bucket, line.cost_usd) for line in explain(found).lines] == lines
    assert words in said(found)


def test_a_correction_names_its_reason_and_what_was_before() -> None:
    job = Repricing(
        repricing_id="r",
        repriced_at=AT,
        actor_id="",
        reason="a typo",
        old_cost_usd=Decimal("0.5"),
        old_price_source="override",
        old_price_tier="",
        old_price_confidence="own",
        prices={},
    )
    assert "(a typo): it was charged 0.5 USD before by override" in explain(row(**RATES), job).sentences[-1]


@given(
    tokens=st.integers(0, 10**9),
    rate=st.decimals(0, 1000, places=6),
    factor=st.decimals("0.000001", 10, places=6),
    off=st.sampled_from([Decimal(0), Decimal("1e-12"), Decimal(-1)]),
)
def test_the_lines_always_add_up_to_the_total(tokens: int, rate: Decimal, factor: Decimal, off: Decimal) -> None:
    bare = row(input_tokens=tokens, output_tokens=1, price_factor=factor, **RATES | {"rate_input": rate})
    made = recomputed(bare)
    assert made is not None
    why = explain(replace(bare, cost_usd=made + off, price_source="genai-prices 1"))
    assert sum((line.cost_usd for line in why.lines), Decimal(0)) == why.total_usd
    assert any(line.bucket == "rounding" for line in why.lines) == bool(off)


def test_a_row_from_before_the_columns_is_filled_up() -> None:
    older = [*start_row(START), *end_row(CallEnd(cost_usd=Decimal(1), price_source="override"))]
    older = older[: COLUMNS.index("price_tier")]
    found = dict(zip(COLUMNS, filled(older), strict=True))
    assert (found["price_factor"], found["content"], found["rate_input"]) == ("1", "full", None)
    assert {name: found[name] for name in COLUMNS[len(older) :]} == {n: END_DEFAULTS[n] for n in COLUMNS[len(older) :]}
