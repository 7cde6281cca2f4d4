"""Messages found again: by their words, by what they mean, or by both at once.

Words are looked up in PostgreSQL's index. Meanings are vectors (`conversations.vectors` makes them), searched where an
embedding model is configured. Both lists are joined by the ranks that a message has in them (reciprocal rank fusion).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import connection, transaction
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Cast
from pgvector.django import CosineDistance, HalfVectorField

from agents.model_calls import CallContext, embed_texts
from agents.models import Agent
from agents.threads import MessageSearch
from conversations.models import Message, Role
from conversations.vector_models import MessageVector
from core.errors import AppError, BadInput
from core.ranks import fused, places
from providers.errors import ProviderError

log = logging.getLogger(__name__)

Vectors = Mapping[str, Sequence[float]]
POOL = 100
NEWEST = 2_000
MAX_HANDLES = 3
SHORTEST_STEM = 4
_OPERATORS = re.compile(r'"|(^|\s)-\w|\bOR\b')
_SAID = (Role.ASSISTANT, Role.APPROVAL)

# Only the newest of what matches is ranked: ranking reads a text, and a common word is in very many.
_RANKED = """
WITH newest AS MATERIALIZED ({newest})
SELECT 'message-' || message.id
FROM conversations_message AS message JOIN newest USING (id)
ORDER BY ts_rank(to_tsvector('simple', message.text), {query}('simple', %s), 32) DESC, message.created_at DESC
LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """The places are those in the two lists, from 1 on; `score` is what they come to together."""

    message: Message
    score: float = 0.0
    words_place: int | None = None
    vector_place: int | None = None


def search(wanted: MessageSearch, context: CallContext) -> list[Hit]:
    """The best first; without a query, the newest. Raises BadInput, ProviderError where vectors alone will do."""
    return find(wanted, query_vectors(wanted, context))


def query_vectors(wanted: MessageSearch, context: CallContext) -> Vectors:
    """The query as a vector of each embedding model in question: the part that calls models."""
    if not wanted.query.strip() or wanted.mode == "fts":
        return {}
    handles = _handles(wanted)
    if wanted.mode == "vector" and not handles:
        raise BadInput(
            "No agent in question has an embedding model, so nothing is found by meaning: set the agent's 'embedding', "
            "or search with search_mode 'fts'."
        )
    traced = replace(context, call_type="embedding")
    filled = [handle for handle in handles if _vectors(wanted).filter(handle=handle).exists()]
    try:
        return {handle: embed_texts([wanted.query], handle=handle, context=traced)[0] for handle in filled}
    except (ProviderError, AppError) as error:
        if wanted.mode == "vector":
            raise
        log.warning("searching by words alone, the embedding model cannot be asked: %s", error.message)
        return {}


def find(wanted: MessageSearch, vectors: Vectors) -> list[Hit]:
    """The part of a search that reads the database alone."""
    rows = _messages(wanted)
    if not wanted.query.strip():
        return [Hit(message) for message in rows.order_by("-created_at", "-pk")[: wanted.limit]]
    with transaction.atomic():
        _plan_for_this_query()
        by_words = [] if wanted.mode == "vector" else _by_words(rows, wanted.query)
        by_meaning = [] if wanted.mode == "fts" else _by_meaning(wanted, vectors)
    scores, said, meant = fused(by_words, by_meaning), places(by_words), places(by_meaning)
    best = list(scores)[: wanted.limit]
    stored = rows.in_bulk(best)
    return [Hit(stored[pk], scores[pk], said.get(pk), meant.get(pk)) for pk in best if pk in stored]


def embedding_of(agent: Agent) -> str:
    return agent.embedding or settings.DEFAULT_EMBEDDING


def _handles(wanted: MessageSearch) -> list[str]:
    """The embedding models of the agents in question, the most used first."""
    agents = Agent.objects.filter(organization_id=wanted.organization_id)
    if wanted.agent_id:
        agents = agents.filter(pk=wanted.agent_id)
    if wanted.conversation_id:
        agents = agents.filter(conversations=wanted.conversation_id)
    used = agents.values_list("embedding").annotate(count=Count("pk")).order_by("-count")
    handles = [handle or settings.DEFAULT_EMBEDDING for handle, _ in used[: MAX_HANDLES + 1]]
    return list(dict.fromkeys(filter(None, handles)))[:MAX_HANDLES]


def _messages(wanted: MessageSearch) -> QuerySet[Message]:
    """What may be found: no empty ones, no compiled system prompt, and beyond one conversation no copies of a fork."""
    first = 0 if wanted.conversation_id else F("conversation__copied")
    rows = Message.objects.filter(_scope(wanted), is_err=False, seq__gt=first)
    return rows.filter(role__in=_roles(wanted)).exclude(text="")


def _vectors(wanted: MessageSearch) -> QuerySet[MessageVector]:
    rows = MessageVector.objects.filter(_scope(wanted))
    return rows.filter(role__in=_roles(wanted))


def _roles(wanted: MessageSearch) -> list[str]:
    """An agent also speaks where it asks for approval."""
    roles = set(wanted.roles)
    return sorted(roles | set(_SAID) if Role.ASSISTANT in roles else roles)


def _scope(wanted: MessageSearch) -> Q:
    """Messages and vectors have the same columns to go by."""
    given = {
        "agent_id": wanted.agent_id,
        "conversation_id": wanted.conversation_id,
        "agent__project_id": wanted.project_id,
        "created_at__gte": wanted.start,
        "created_at__lte": wanted.end,
    }
    narrowed = {field: value for field, value in given.items() if value is not None}
    return Q(organization_id=wanted.organization_id, **narrowed)


def _by_words(rows: QuerySet[Message], query: str) -> list[str]:
    function, text = _text_query(query)
    kind = {"to_tsquery": "raw", "websearch_to_tsquery": "websearch"}[function]
    matching = rows.alias(found=SearchVector("text", config="simple"))
    matching = matching.filter(found=SearchQuery(text, config="simple", search_type=kind))
    sql, parameters = matching.order_by("-created_at").values("id")[:NEWEST].query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(_RANKED.format(newest=sql, query=function), [*parameters, text, POOL])
        return [pk for (pk,) in cursor.fetchall()]


def _text_query(query: str) -> tuple[str, str]:
    """(PostgreSQL's function, its text): any of the words, longer ones also as beginnings of others, so that a whole
    sentence finds something; quotes, minus and OR work as on the web."""
    words = re.findall(r"\w+", query)
    if not words or _OPERATORS.search(query):
        return "websearch_to_tsquery", query
    return "to_tsquery", " | ".join(f"{word}:*" if len(word) >= SHORTEST_STEM else word for word in words)


def _by_meaning(wanted: MessageSearch, vectors: Vectors) -> list[str]:
    found: list[tuple[str, float]] = []
    for handle, vector in vectors.items():
        same = _vectors(wanted).filter(handle=handle, dim=len(vector))
        near = CosineDistance(Cast("embedding", HalfVectorField(dimensions=len(vector))), list(vector))
        nearest = same.annotate(distance=near).order_by("distance").values_list("pk", "distance")[:POOL]
        found += [(str(pk), distance) for pk, distance in nearest]
    return [pk for pk, _ in sorted(found, key=lambda pair: pair[1])[:POOL]]


def _plan_for_this_query() -> None:
    """For its very words, not for any: the best plans of a rare word and of a common one differ by orders of magnitude.
    And where filters leave too few of the nearest, the search for them goes on."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL hnsw.iterative_scan = relaxed_order")
