"""Why a call costs what it costs: the sum, line by line, and in words.

    explain(row).lines      (bucket, tokens, USD per million tokens, cost in USD), adding up to `total_usd` exactly

Nothing but the row is asked: what it was priced by is kept on it, so that a price list of today changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext

from core.amounts import as_text
from telemetry.queries import TraceRow
from telemetry.repriced import Repricing
from telemetry.trace import ESTIMATED, METADATA, MONEY_STEP, NOT_BILLED, UNPRICED, WORKER_LOST

LOCAL, OVERRIDE, GIVEN = "local", "override", "provider"
ZERO, ONE = Decimal(0), Decimal(1)
STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class Line:
    """`bucket`: input, cache_read, cache_write_5m, cache_write_1h, output; `given` is what the provider itself said,
    `recorded` an amount whose making was not kept, `rounding` what rounding each line left over.

    `rate_usd`: per million tokens, before the factor; None where no rate was used. `cost_usd` has the factor in it.
    """

    bucket: str
    tokens: int | None
    rate_usd: Decimal | None
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`total_usd`: the row's cost, the sum of the lines; None where no price is known, and then there are no lines.

    `factor`: a discount or margin that is in every line. `source`: `genai-prices 0.2.3`, `override` (the organization's
    own price), `provider`, `local`, `not_billed`, `estimated`, `unpriced`. `tier`, `confidence`: as on the row.
    `sentences`: plain English, at least one. `mismatch`: our buckets are not what the provider's total says.
    """

    total_usd: Decimal | None
    lines: tuple[Line, ...]
    factor: Decimal
    source: str
    tier: str
    confidence: str
    sentences: tuple[str, ...]
    mismatch: bool


def explain(row: TraceRow, repricing: Repricing | None = None) -> Explanation:
    """Of `Trace.row`, with `Trace.repricing` where it was re-priced."""
    return Explanation(
        total_usd=row.cost_usd,
        lines=tuple(_lines(row)),
        factor=row.price_factor,
        source=row.price_source,
        tier=row.price_tier,
        confidence=row.price_confidence,
        sentences=(*_sentences(row), *(_corrected(repricing) if repricing else ())),
        mismatch=is_mismatched(row),
    )


def is_mismatched(row: TraceRow) -> bool:
    return row.reported_total_tokens is not None and row.reported_total_tokens != row.total_tokens


def recomputed(row: TraceRow) -> Decimal | None:
    """The cost by what is kept on the row; None where nothing was kept that it could be made from."""
    lines = _made(row)
    return None if lines is None else sum((line.cost_usd for line in lines), ZERO)


def _lines(row: TraceRow) -> list[Line]:
    if row.cost_usd is None:
        return []
    lines = _made(row)
    if lines is None:
        return [Line("recorded", row.total_tokens, None, row.cost_usd)]
    rest = row.cost_usd - sum((line.cost_usd for line in lines), ZERO)
    return [*lines, Line("rounding", None, None, rest)] if rest else lines


def _made(row: TraceRow) -> list[Line] | None:
    if row.price_source in (LOCAL, NOT_BILLED):
        return []
    if row.price_source == GIVEN:
        if row.given_cost_usd is None:
            return None
        return [Line("given", row.total_tokens, None, _kept(row.given_cost_usd, row.price_factor))]
    if row.rate_input is None:
        return None
    return [
        Line(bucket, tokens, rate, _cost(tokens, rate, row.price_factor))
        for bucket, tokens, rate in _buckets(row)
        if tokens
    ]


def _buckets(row: TraceRow) -> Iterator[tuple[str, int, Decimal]]:
    yield "input", row.input_tokens, row.rate_input or ZERO
    yield "cache_read", row.cached_input_tokens or 0, row.rate_cache_read or ZERO
    yield "cache_write_5m", row.cache_write_5m_tokens or 0, row.rate_cache_write_5m or ZERO
    yield "cache_write_1h", row.cache_write_1h_tokens or 0, row.rate_cache_write_1h or ZERO
    yield "output", row.completion_tokens, row.rate_output or ZERO


def _cost(tokens: int, rate: Decimal, factor: Decimal) -> Decimal:
    with localcontext(prec=50):
        return _kept(_kept((rate * tokens).scaleb(-6), ONE), factor)


def _kept(amount: Decimal, factor: Decimal) -> Decimal:
    """To the digits that are stored, as `providers.pricing` rounds."""
    with localcontext(prec=50):
        found = amount * factor
        exponent = found.as_tuple().exponent
        return found.quantize(MONEY_STEP) if isinstance(exponent, int) and exponent < -12 else found


def _sentences(row: TraceRow) -> Iterator[str]:
    yield _origin(row)
    yield from _terms(row)
    if row.error_type == WORKER_LOST:
        yield "The worker died before the answer was recorded, so tokens are those of the request alone, as estimated."
    elif row.usage_estimated:
        yield "The tokens are an estimate (four bytes a token): the answer broke off, or the provider counted none."
    if row.reasoning_tokens:
        yield f"{row.reasoning_tokens:,} of the output tokens are reasoning, charged as output."
    if is_mismatched(row):
        yield (
            f"The provider reports {row.reported_total_tokens:,} tokens in all; "
            f"the buckets here add up to {row.total_tokens:,}."
        )
    if row.content == METADATA:
        yield "By the organization's policy nothing of the content was kept, so the tokens cannot be counted again."


def _corrected(repricing: Repricing) -> Iterator[str]:
    before = "without a price" if repricing.old_cost_usd is None else f"charged {as_text(repricing.old_cost_usd)} USD"
    source = repricing.old_price_source
    yield (
        f"Re-priced on {repricing.repriced_at:%Y-%m-%d} ({repricing.reason}): it was {before} before"
        f"{'' if source == UNPRICED else f' by {source}'}. The call's own row and its run keep what they said."
    )


def _origin(row: TraceRow) -> str:
    source = row.price_source
    known = {
        LOCAL: "The model runs on the operator's own machine: it costs nothing by the token.",
        NOT_BILLED: "The provider refused the call before it began to answer, and does not charge for that.",
        ESTIMATED: "The amount was estimated before the call was made.",
        OVERRIDE: "Charged by the organization's own price.",
        GIVEN: "The provider itself said what it charged for this call.",
    }
    if source == UNPRICED or row.cost_usd is None:
        return (
            f"No price is known for {row.provider}/{row.model}, so the call is not in any sum of costs. "
            "Add a price of your own, then re-price: `manage.py reprice --only-unpriced`."
        )
    if source in known:
        return known[source]
    if row.rate_input is None:
        return f"Priced by {source}; the unit prices were not kept at that time."
    return f"Charged by the published prices of {source}, as they were when the call was made."


def _terms(row: TraceRow) -> Iterator[str]:
    if row.cost_usd is None:
        return
    if row.price_source not in (LOCAL, NOT_BILLED, ESTIMATED) and row.price_tier not in ("", STANDARD):
        yield f"Terms: {row.price_tier.replace('+', ', ')}."
    if row.price_factor != ONE:
        change = (row.price_factor - ONE) * 100
        kind = "margin" if change > 0 else "discount"
        yield f"Every line has a {kind} of {as_text(abs(change))} % in it (the factor is {as_text(row.price_factor)})."
    if row.price_confidence == "assumed" and not row.usage_estimated:
        yield "A price stands in for one that is not on record (a service tier, a region or a cache bucket)."
