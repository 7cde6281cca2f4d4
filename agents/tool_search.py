"""Finds tools by words, by names that are nearly right, and by what they are for, where there is an embedding model.

Vectors are made when they are first searched, since tools come from everywhere (the API, MCP servers, this server) and
most are never searched for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db.models import Exists, OuterRef, QuerySet
from pgvector.django import CosineDistance

from accounts.access import Caller
from agents.access import tools_of
from agents.model_calls import CallContext, embed_texts
from agents.models import Tool, ToolVector
from agents.schemas.tools import ToolSearchRequest, ToolSearchResult, tool_out
from core.errors import AppError, BadInput
from core.ranks import fused, places
from providers.errors import ProviderError

log = logging.getLogger(__name__)
CONFIG = "english"  # names and descriptions of tools; words of other languages are found as they are
RANKED = 200
NAMES = 5_000
NEW_VECTORS = 256
PER_CALL = 64
LIKE = 0.5
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class _Lists:
    """Ids of tools, the best first. `meant` None: there is no embedding model."""

    said: Sequence[str]
    meant: Sequence[str] | None = None


def search_tools(caller: Caller, wanted: ToolSearchRequest) -> list[ToolSearchResult]:
    """The best first; without a query, the newest. Raises BadInput (no embedding model), ProviderError."""
    rows = tools_of(caller)
    if wanted.tool_types:
        rows = rows.filter(tool_type__in=wanted.tool_types)
    if wanted.tags:
        rows = rows.filter(tags__overlap=wanted.tags)
    query = (wanted.query or "").strip()
    if not query:
        newest = rows.order_by("-created_at", "pk")[: wanted.limit]
        return [ToolSearchResult(tool=tool_out(tool), combined_score=0.0) for tool in newest]
    lists = _lists(caller, rows, wanted, query)
    scores = fused(lists.said, lists.meant or ())
    tools = {tool.pk: tool for tool in rows.filter(pk__in=list(scores)[: wanted.limit])}
    said, meant = places(lists.said), None if lists.meant is None else places(lists.meant)
    best = list(scores.items())[: wanted.limit]
    return [_result(tools[pk], score, said, meant) for pk, score in best if pk in tools]


def embedded_text(tool: Tool) -> str:
    arguments = (tool.json_schema.get("parameters") or {}).get("properties") or {}
    return "\n".join(part for part in (tool.name, tool.description, ", ".join(arguments)) if part)


def _lists(caller: Caller, rows: QuerySet[Tool], wanted: ToolSearchRequest, query: str) -> _Lists:
    if wanted.search_mode == "fts":
        return _Lists(_by_words(rows, query))
    handle = settings.DEFAULT_EMBEDDING
    if wanted.search_mode == "vector":
        if not handle:
            raise BadInput("No embedding model is configured (DEFAULT_EMBEDDING): search with search_mode fts.")
        return _Lists((), _by_meaning(caller, rows, query, handle))
    words = _by_words(rows, query)
    try:
        return _Lists(words, _by_meaning(caller, rows, query, handle) if handle else None)
    except (ProviderError, AppError) as error:
        log.warning("tools are searched by their words alone: %s", error)
        return _Lists(words)


def _result(tool: Tool, score: float, said: Mapping[str, int], meant: Mapping[str, int] | None) -> ToolSearchResult:
    """The places are those in the two lists."""
    return ToolSearchResult(
        tool=tool_out(tool),
        embedded_text=embedded_text(tool) if meant is not None else None,
        fts_rank=said.get(tool.pk),
        vector_rank=(meant or {}).get(tool.pk),
        combined_score=score,
    )


def _by_words(rows: QuerySet[Tool], query: str) -> list[str]:
    words = _WORD.findall(query)[:50]
    if not words:
        return []
    vector = SearchVector("name", "description", config=CONFIG)
    any_of = SearchQuery(" | ".join(words), config=CONFIG, search_type="raw")
    ranked = rows.annotate(found=vector, rank=SearchRank(vector, any_of)).filter(found=any_of)
    by_text = list(ranked.order_by("-rank", "pk").values_list("pk", flat=True)[:RANKED])
    return list(fused(_by_name(rows, words), by_text))


def _by_name(rows: QuerySet[Tool], words: Sequence[str]) -> list[str]:
    """Names that share most of their trigrams with the query, or the query with them: also such with a slip in them."""
    asked = _trigrams(words)
    likeness: dict[str, float] = {}
    for pk, name in rows.order_by("-created_at").values_list("pk", "name")[:NAMES]:
        own = _trigrams(_WORD.findall(name))
        shared = len(own & asked) / max(3, min(len(own), len(asked)))
        if shared >= LIKE:
            likeness[str(pk)] = shared
    return sorted(likeness, key=lambda pk: -likeness[pk])[:RANKED]


def _trigrams(words: Sequence[str]) -> set[str]:
    text = f"  {' '.join(words).lower()} "
    return {text[n : n + 3] for n in range(len(text) - 2)}


def _by_meaning(caller: Caller, rows: QuerySet[Tool], query: str, handle: str) -> list[str]:
    context = CallContext(
        organization_id=caller.organization_id,
        call_type="embedding",
        project_id=caller.project_id or "",
        api_key_id=caller.api_key_id,
    )
    [vector] = embed_texts([query], handle=handle, context=context)
    _fill(rows, handle, context)
    near = ToolVector.objects.filter(
        organization_id=caller.organization_id, model=handle, dim=len(vector), tool__in=rows.order_by()
    )
    ordered = near.annotate(distance=CosineDistance("embedding", vector)).order_by("distance", "tool_id")
    return [str(pk) for pk in ordered.values_list("tool_id", flat=True)[:RANKED]]


def _fill(rows: QuerySet[Tool], handle: str, context: CallContext) -> None:
    """Makes the vectors that are missing or old, up to a number: the next search makes the next ones."""
    fresh = ToolVector.objects.filter(
        organization_id=context.organization_id, tool=OuterRef("pk"), model=handle, made_at=OuterRef("updated_at")
    )
    missing = list(rows.exclude(Exists(fresh)).defer("source_code").order_by("-created_at")[:NEW_VECTORS])
    for start in range(0, len(missing), PER_CALL):
        tools = missing[start : start + PER_CALL]
        vectors = embed_texts([embedded_text(tool) for tool in tools], handle=handle, context=context)
        ToolVector.objects.bulk_create(
            [
                ToolVector(
                    organization_id=context.organization_id,
                    tool=tool,
                    model=handle,
                    made_at=tool.updated_at,
                    dim=len(vector),
                    embedding=vector,
                )
                for tool, vector in zip(tools, vectors, strict=True)
            ],
            update_conflicts=True,
            unique_fields=["organization", "tool"],
            update_fields=["model", "made_at", "dim", "embedding"],
        )
