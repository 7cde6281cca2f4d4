"""Tools with which an agent stores texts in its archive and finds them again by meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from agents import passages
from agents.passages import Embedded, Hit, NewPassage, Search
from agents.tools.base import Args, ToolContext
from agents.tools.recall import moment, traced, zone

DEFAULT_RESULTS = 10
MAX_RESULTS = 100


def prepare_insert(context: ToolContext, args: Args) -> Embedded:
    return passages.embed(context.agent_id, [args["content"]], traced(context))


def archival_memory_insert(context: ToolContext, args: Args, prepared: Embedded) -> str:
    new = NewPassage(text=args["content"], tags=args.get("tags") or ())
    [passage] = passages.store(context.agent_id, [new], prepared, None)
    return f"Memory inserted with ID: {passage.pk}"


def prepare_search(context: ToolContext, args: Args) -> Mapping[str, Sequence[float]]:
    return passages.query_vectors(_search(context, args), traced(context))


def archival_memory_search(context: ToolContext, args: Args, prepared: Mapping[str, Sequence[float]]) -> str:
    hits = passages.found(_search(context, args), prepared)
    if not hits:
        return "No results found."
    plural = "" if len(hits) == 1 else "s"
    items = [_item(hit, context.timezone) for hit in hits]
    return json.dumps({"message": f"Showing {len(hits)} result{plural}:", "results": items}, ensure_ascii=False)


def _search(context: ToolContext, args: Args) -> Search:
    return Search(
        organization_id=context.organization_id,
        agent_id=context.agent_id,
        query=args["query"],
        tags=args.get("tags") or (),
        match_all_tags=args.get("tag_match_mode") == "all",
        limit=max(1, min(args.get("top_k") or DEFAULT_RESULTS, MAX_RESULTS)),
        start=moment(args.get("start_datetime"), "start_datetime", context.timezone),
        end=moment(args.get("end_datetime"), "end_datetime", context.timezone, end=True),
    )


def _item(hit: Hit, timezone: str) -> dict[str, object]:
    at = hit.passage.created_at.astimezone(zone(timezone))
    return {"timestamp": at.isoformat(timespec="seconds"), "content": hit.passage.text, "tags": hit.passage.tags}
