"""One model call as one row: what is known before it, what is known after it, and the columns both are kept in.

A row is a plain list of JSON values in the order of `COLUMNS`. The same list goes into the spool file and, column by
column, into ClickHouse; so new columns are only ever appended, and a shorter list of an older version is filled up from
`DEFAULTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import lru_cache
from typing import Any

import orjson

# The digits that ClickHouse keeps of an amount: Decimal(38, 12).
MONEY_STEP = Decimal("0.000000000001")
MAX_ERROR_LENGTH = 1000
UINT32_MAX = 2**32 - 1
WORKER_LOST = "worker_lost"
UNPRICED = "unpriced"
ESTIMATED = "estimated"
NOT_BILLED = "not_billed"
FULL, MASKED, METADATA = "full", "masked", "metadata"
_ONE = Decimal(1)

Row = list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStart:
    """What is known before a model is called. One for each attempt; `trace_id` groups all calls of a run.

    Ids are as on the wire (`agent-<uuid>`); "" where there is none. `provider` is the type, `provider_name` the
    provider's own name. `request_json` is the exact body that is sent, without headers. `secrets` (keys, values of
    headers) are never written: they are looked for in everything that is.
    """

    id: str
    organization_id: str
    call_type: str
    provider: str
    model: str
    created_at: datetime
    request_json: bytes
    project_id: str = ""
    agent_id: str = ""
    agent_tags: tuple[str, ...] = ()
    conversation_id: str = ""
    run_id: str = ""
    step_id: str = ""
    trace_id: str = ""
    provider_name: str = ""
    provider_category: str = "base"
    provider_key_id: str = ""
    attempt: int = 1
    identity_id: str = ""
    api_key_id: str = ""
    llm_config: Mapping[str, Any] = field(default_factory=dict)
    estimated_prompt_tokens: int = 0
    estimated_cost_usd: Decimal | None = None
    billing_plan_type: str = ""
    billing_cost_source: str = ""
    billing_customer_id: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """How a model call ended. Token buckets are disjoint, but for `reasoning_tokens`, which lie within the output.

    None in a cache or reasoning bucket: the provider did not report it. `cost_usd` None: no price is known.

    What the cost was made from: the rates that each bucket was charged at (USD per million tokens, before
    `price_factor`), or `given_cost_usd`, what the provider itself said that it charged. `service_tier` and
    `service_region` are the provider's terms, `price_tier` the ones whose price was used.
    `reported_total_tokens`: by the provider's own words, to hold our buckets against; None where it gave no total, or
    where tokens are estimated. `content`: what of the payload is kept, by the organization's policy.
    """

    response_json: bytes = b""
    input_tokens: int = 0
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int = 0
    reasoning_tokens: int | None = None
    usage_estimated: bool = False
    cost_usd: Decimal | None = None
    price_source: str = UNPRICED
    latency_ms: int = 0
    ttft_ms: int | None = None
    finish_reason: str = ""
    error_type: str = ""
    error_message: str = ""
    price_tier: str = ""
    price_confidence: str = ""
    price_factor: Decimal = _ONE
    rate_input: Decimal | None = None
    rate_cache_read: Decimal | None = None
    rate_cache_write_5m: Decimal | None = None
    rate_cache_write_1h: Decimal | None = None
    rate_output: Decimal | None = None
    given_cost_usd: Decimal | None = None
    service_tier: str = ""
    service_region: str = ""
    reported_total_tokens: int | None = None
    content: str = FULL


START_COLUMNS = (
    "id",
    "organization_id",
    "project_id",
    "agent_id",
    "agent_tags",
    "conversation_id",
    "run_id",
    "step_id",
    "trace_id",
    "call_type",
    "provider",
    "provider_name",
    "provider_key_id",
    "is_byok",
    "model",
    "attempt",
    "identity_id",
    "api_key_id",
    "created_at",
    "request_size_bytes",
    "billing_plan_type",
    "billing_cost_source",
    "billing_customer_id",
)
END_DEFAULTS: dict[str, Any] = {
    "response_size_bytes": 0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "input_tokens": 0,
    "cached_input_tokens": None,
    "cache_write_tokens": None,
    "cache_write_5m_tokens": None,
    "cache_write_1h_tokens": None,
    "reasoning_tokens": None,
    "usage_estimated": 0,
    "cost_usd": None,
    "price_source": UNPRICED,
    "latency_ms": 0,
    "ttft_ms": None,
    "finish_reason": "",
    "is_error": 0,
    "error_type": "",
    "error_message": "",
    "price_tier": "",
    "price_confidence": "",
    "price_factor": "1",
    "rate_input": None,
    "rate_cache_read": None,
    "rate_cache_write_5m": None,
    "rate_cache_write_1h": None,
    "rate_output": None,
    "given_cost_usd": None,
    "service_tier": "",
    "service_region": "",
    "reported_total_tokens": None,
    "content": FULL,
}
COLUMNS = (*START_COLUMNS, *END_DEFAULTS)
DEFAULTS = (*(None for _ in START_COLUMNS), *END_DEFAULTS.values())
# What a correction replaces, and what its row has besides: see schema/0006.
PRICE_COLUMNS = (
    "cost_usd",
    "price_source",
    "price_tier",
    "price_confidence",
    "price_factor",
    "rate_input",
    "rate_cache_read",
    "rate_cache_write_5m",
    "rate_cache_write_1h",
    "rate_output",
    "given_cost_usd",
    "service_tier",
    "service_region",
)
REPRICING_COLUMNS = (
    "repricing_id",
    "repriced_at",
    "actor_id",
    "reason",
    "old_cost_usd",
    "old_price_source",
    "old_price_tier",
    "old_price_confidence",
)
PAYLOAD_COLUMNS = ("request_json", "response_json", "llm_config_json")


def start_row(start: CallStart) -> Row:
    """The first columns of the row; the same list whether the call ends well, badly or never."""
    s = start
    return [
        s.id,
        s.organization_id,
        s.project_id,
        s.agent_id,
        s.agent_tags,
        s.conversation_id,
        s.run_id,
        s.step_id,
        s.trace_id,
        s.call_type,
        s.provider,
        s.provider_name,
        s.provider_key_id,
        1 if s.provider_category == "byok" else 0,
        s.model,
        s.attempt,
        s.identity_id,
        s.api_key_id,
        epoch_ms(s.created_at),
        len(s.request_json),
        s.billing_plan_type,
        s.billing_cost_source,
        s.billing_customer_id,
    ]


def estimates(start: CallStart) -> Row:
    """What is needed to account for a call whose worker died: tokens and, where known, the amount."""
    return [count(start.estimated_prompt_tokens), amount(start.estimated_cost_usd)]


def end_row(end: CallEnd) -> Row:
    cache_read = optional_count(end.cache_read_tokens)
    write_5m, write_1h = optional_count(end.cache_write_5m_tokens), optional_count(end.cache_write_1h_tokens)
    write = None if write_5m is None and write_1h is None else (write_5m or 0) + (write_1h or 0)
    uncached, output = count(end.input_tokens), count(end.output_tokens)
    prompt = uncached + (cache_read or 0) + (write or 0)
    return [
        len(end.response_json),
        prompt,
        output,
        prompt + output,
        uncached,
        cache_read,
        write,
        write_5m,
        write_1h,
        optional_count(end.reasoning_tokens),
        1 if end.usage_estimated else 0,
        amount(end.cost_usd),
        end.price_source,
        count(end.latency_ms),
        optional_count(end.ttft_ms),
        end.finish_reason,
        1 if end.error_type else 0,
        end.error_type,
        end.error_message[:MAX_ERROR_LENGTH],
        end.price_tier,
        end.price_confidence,
        _rate(end.price_factor) or "1",
        _rate(end.rate_input),
        _rate(end.rate_cache_read),
        _rate(end.rate_cache_write_5m),
        _rate(end.rate_cache_write_1h),
        _rate(end.rate_output),
        amount(end.given_cost_usd),
        end.service_tier,
        end.service_region,
        optional_count(end.reported_total_tokens),
        end.content,
    ]


def lost_row(start: Row, estimated: Row) -> Row:
    """The whole row of a call whose worker died before the answer was recorded."""
    tokens, cost = estimated
    end = CallEnd(
        input_tokens=tokens,
        usage_estimated=True,
        cost_usd=None if cost is None else Decimal(cost),
        price_source=UNPRICED if cost is None else ESTIMATED,
        price_confidence="none" if cost is None else "assumed",
        error_type=WORKER_LOST,
        error_message="The worker died before the answer was recorded; usage is estimated.",
    )
    return [*start, *end_row(end)]


def filled(row: Row) -> Row:
    """A row of an older version, with the columns that came later."""
    return row if len(row) == len(COLUMNS) else [*row, *DEFAULTS[len(row) :]]


def count(value: int | None) -> int:
    """Tokens and times as ClickHouse's UInt32 takes them: a nonsense value must not cost the row."""
    return min(max(int(value), 0), UINT32_MAX) if value else 0


def optional_count(value: int | None) -> int | None:
    return None if value is None else count(value)


def amount(value: Decimal | None) -> str | None:
    """US dollars as text: JSON numbers are floats, and floats are no money."""
    if value is None or not value.is_finite():
        return None
    with localcontext(prec=50):
        return f"{value.quantize(MONEY_STEP, ROUND_HALF_EVEN):f}"


@lru_cache(maxsize=4096)
def _rate(value: Decimal | None) -> str | None:
    """The same few prices come with every call."""
    return amount(value)


def epoch_ms(at: datetime) -> int:
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def dump(value: Any) -> bytes:
    """JSON of anything: what JSON cannot say becomes text, because a trace is never worth a failed run."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(v) for v in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else _plain(str(value))
