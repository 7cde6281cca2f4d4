"""OpenTelemetry: each call a span by the gen_ai conventions, over OTLP/HTTP. Nothing can be read back.

A call that is sent again has the same trace and span ids. What is no convention's own is called `perennial.<column>`.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
import socket
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from django.conf import settings
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from telemetry.batches import Away, Batch, Entry, Refused
from telemetry.trace import PAYLOAD_COLUMNS

logger = logging.getLogger(__name__)

TRACES_PATH = "/v1/traces"
TIMEOUT_S = 30.0
SCOPE = InstrumentationScope(name="perennial.telemetry")
# Names of the registry of conventions where ours differ.
PROVIDERS = {
    "google_ai": "gcp.gemini",
    "google_vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "xai": "x_ai",
    "mistral": "mistral_ai",
}
OPERATIONS = {"embedding": "embeddings"}
# Columns that a convention has a name for, or that the span itself says.
SAID_OTHERWISE = frozenset(
    (
        *("trace_id", "created_at", "provider", "model", "conversation_id", "agent_id", "finish_reason", "error_type"),
        *("error_message", "prompt_tokens", "completion_tokens", "cached_input_tokens", "cache_write_tokens"),
        *("reasoning_tokens", "ttft_ms", "is_error", "cost_usd"),
    )
)
# The collector read the request and does not want it. Other refusals are about the way to it, and pass once mended.
DATA_ERRORS = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}


class Otlp:
    name = "otlp"

    def __init__(self) -> None:
        self._client: httpx.Client | None = None

    def write(self, batch: Batch, *, doubtful: bool) -> None:
        self._post(request_of(batch.entries, content=settings.OTLP_CONTENT))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def wrong(self) -> Sequence[str]:
        return [said for said in (_wrong_endpoint(), _wrong_headers()) if said]

    def probe(self) -> str:
        """By a request without spans, which tells whether the headers are right."""
        try:
            self._post(ExportTraceServiceRequest())
        except Refused as error:
            raise Away(str(error)) from error
        finally:
            self.close()
        names = ", ".join(headers())
        return f"{urlsplit(address()).hostname} takes spans" + (f" with {names} (values hidden)" if names else "")

    def _post(self, request: ExportTraceServiceRequest) -> None:
        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT_S)
        sent = {**headers(), "content-type": "application/x-protobuf", "content-encoding": "gzip"}
        body = gzip.compress(request.SerializeToString(), 1)
        try:
            answer = self._client.post(address(), content=body, headers=sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.close()
            raise Away(f"{type(error).__name__}: {error}") from error
        if answer.status_code in DATA_ERRORS:
            raise Refused(f"the collector answered {answer.status_code} {answer.reason_phrase}")
        if not answer.is_success:
            said = f"the collector answered {answer.status_code} {answer.reason_phrase}"
            raise Away(said, _seconds(answer.headers.get("retry-after", "")))
        _note_rejected(answer.content)


def address() -> str:
    """The setting, with the path for traces unless it has it."""
    url: str = settings.OTLP_ENDPOINT.rstrip("/")
    return url if url.endswith(TRACES_PATH) else url + TRACES_PATH


def _wrong_endpoint() -> str:
    parts = urlsplit(settings.OTLP_ENDPOINT)
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.username and not parts.query:
        return ""
    return (
        "OTLP_ENDPOINT must be the address of a collector, as http://collector:4318 (OTLP over HTTP, not gRPC); "
        "what is secret goes into OTLP_HEADERS."
    )


def _wrong_headers() -> str:
    try:
        headers()
    except ValueError as error:
        return f"{error}, with values percent-encoded (a comma is %2C, a space %20)."
    return ""


def headers() -> dict[str, str]:
    """ValueError when the setting cannot be read; its message does not repeat it."""
    pairs = [pair.partition("=") for pair in settings.OTLP_HEADERS.get_secret_value().split(",") if pair.strip()]
    found = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
    if not all(re.fullmatch(r"[a-z0-9!#$&'*+.^_|~-]+", name) for name in found) or not all(p[1] for p in pairs):
        raise ValueError("OTLP_HEADERS reads name=value,name=value")
    return found


def request_of(entries: Sequence[Entry], *, content: bool) -> ExportTraceServiceRequest:
    resource = Resource(attributes=_attributes({"service.name": "perennial", "host.name": socket.gethostname()}))
    spans = ScopeSpans(scope=SCOPE, spans=[span(entry, content=content) for entry in entries])
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[spans])])


def span(entry: Entry, *, content: bool) -> Span:
    row = entry.named()
    said = dict(zip(PAYLOAD_COLUMNS, entry.payloads, strict=False)) if content else {}
    texts = {f"perennial.{name}": payload.decode("utf-8", "replace") for name, payload in said.items()}
    began = row["created_at"] * 1_000_000
    failed = Status(code=Status.STATUS_CODE_ERROR, message=row["error_message"]) if row["is_error"] else None
    return Span(
        trace_id=_trace_id(row),
        span_id=_span_id(row["id"]),
        name=f"{_operation(row)} {row['model']}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=began,
        end_time_unix_nano=began + row["latency_ms"] * 1_000_000,
        attributes=_attributes({**_conventional(row), **_own(row), **texts}),
        status=failed,
    )


def _conventional(row: Mapping[str, Any]) -> dict[str, Any]:
    provider = PROVIDERS.get(row["provider"], row["provider"])
    return {
        "gen_ai.operation.name": _operation(row),
        "gen_ai.provider.name": provider,
        "gen_ai.system": provider,
        "gen_ai.request.model": row["model"],
        "gen_ai.conversation.id": row["conversation_id"],
        "gen_ai.agent.id": row["agent_id"],
        "gen_ai.usage.input_tokens": row["prompt_tokens"],
        "gen_ai.usage.output_tokens": row["completion_tokens"],
        "gen_ai.usage.cache_read.input_tokens": row["cached_input_tokens"],
        "gen_ai.usage.cache_creation.input_tokens": row["cache_write_tokens"],
        "gen_ai.usage.reasoning.output_tokens": row["reasoning_tokens"],
        "gen_ai.response.finish_reasons": [row["finish_reason"]] if row["finish_reason"] else None,
        "gen_ai.response.time_to_first_chunk": None if row["ttft_ms"] is None else row["ttft_ms"] / 1000,
        "error.type": row["error_type"],
    }


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """Every other column, new ones too. The cost as a number to add up, and as the text that is exact."""
    cost = row["cost_usd"]
    own = {f"perennial.{name}": value for name, value in row.items() if name not in SAID_OTHERWISE}
    return own | {"perennial.cost_usd": None if cost is None else float(cost), "perennial.cost_usd_exact": cost}


def _operation(row: Mapping[str, Any]) -> str:
    return OPERATIONS.get(row["call_type"], "chat")


def _trace_id(row: Mapping[str, Any]) -> bytes:
    """That of the run. Calls outside of one are traces of their own."""
    if re.fullmatch("[0-9a-f]{32}", row["trace_id"]) and row["trace_id"] != "0" * 32:
        return bytes.fromhex(row["trace_id"])
    return hashlib.sha256((row["run_id"] or row["id"]).encode()).digest()[:16]


def _span_id(call_id: str) -> bytes:
    """The first half of the call's id, so that one can be found by the other."""
    digits = call_id.replace("-", "")[:16]
    if re.fullmatch("[0-9a-f]{16}", digits) and digits != "0" * 16:
        return bytes.fromhex(digits)
    return hashlib.sha256(call_id.encode()).digest()[:8]


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """What is empty is left out."""
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items() if value not in (None, "", [])]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))
    return AnyValue(string_value=str(value))


def _note_rejected(answer: bytes) -> None:
    """A part of a batch may be refused without a word on which part: there is nothing to try again."""
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return
    if partial.rejected_spans:
        logger.error("The collector rejected %d spans: %s", partial.rejected_spans, partial.error_message[:300])


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0
