"""Archival memory: passages stored, and found again by meaning or, where there is no embedding model, by words.

A model is never called inside a transaction: `embed` comes first, `store` after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db import transaction
from django.db.models import QuerySet
from pgvector.django import CosineDistance

from agents import memory
from agents.context import estimate_tokens
from agents.model_calls import CallContext, embed_texts
from agents.models import Agent, Archive, Passage
from core.errors import Invalid, NotFound
from core.pagination import Cursor, page
from core.time import now

MAX_TOKENS = 8_192
MAX_TAG = 200
BATCH = 1_000
_OPERATORS = re.compile(r'"|(^|\s)-\w|\bOR\b')


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPassage:
    text: str
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of some texts, by the model `handle`; None where the archive has no embedding model."""

    handle: str | None
    vectors: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where (`agent_id`, `archive_id`, else the whole organization) and what. No query: the newest come first."""

    organization_id: str
    query: str = ""
    agent_id: str | None = None
    archive_id: str | None = None
    tags: Sequence[str] = ()
    match_all_tags: bool = False
    limit: int = 10
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """`score`: cosine similarity, or the rank of a text search; both grow with the likeness."""

    passage: Passage
    score: float


def insert_passages(agent: Agent, new: Sequence[NewPassage], context: CallContext, by: str | None) -> list[Passage]:
    """Into the agent's archive, which is made if there is none. Raises Invalid, ProviderError, BadInput."""
    embedded = embed(agent.pk, [passage.text for passage in new], context)
    return store(agent.pk, new, embedded, by)


def embed(agent_id: str, texts: Sequence[str], context: CallContext) -> Embedded:
    """The vectors with which these texts go into the agent's archive."""
    for text in texts:
        _check_text(text)
    agent = Agent.objects.only("id", "embedding").get(pk=agent_id)
    archive = archive_of(agent_id)
    handle = archive.embedding if archive else _embedding_of(agent)
    if not handle:
        return Embedded(None)
    return Embedded(handle, embed_texts(list(texts), handle=handle, context=_for_embedding(context)))


@transaction.atomic
def store(agent_id: str, new: Sequence[NewPassage], embedded: Embedded, by: str | None) -> list[Passage]:
    archive = archive_of(agent_id) or _open_archive(agent_id, embedded.handle)
    return store_in(archive, new, embedded, by)


@transaction.atomic
def store_in(archive: Archive, new: Sequence[NewPassage], embedded: Embedded, by: str | None) -> list[Passage]:
    """Vectors of another model than the archive's are left out: such passages are found by their words."""
    fits = embedded.handle is not None and embedded.handle == archive.embedding
    vectors = list(embedded.vectors) if fits else [None] * len(new)
    passages = [
        Passage(
            organization_id=archive.organization_id,
            archive=archive,
            text=_check_text(each.text),
            tags=_check_tags(each.tags),
            metadata=dict(each.metadata),
            embedding=vector,
            created_at=each.created_at or now(),
            created_by_id=by,
            last_updated_by_id=by,
        )
        for each, vector in zip(new, vectors, strict=True)
    ]
    Passage.objects.bulk_create(passages, batch_size=BATCH)
    if vectors and vectors[0] is not None and archive.embedding_dim is None:
        archive.embedding_dim = len(vectors[0])
        archive.save(update_fields=["embedding_dim", "updated_at"])
    _touch(archive)
    return passages


@transaction.atomic
def take(agent: Agent, new: Sequence[NewPassage], by: str | None) -> list[Passage]:
    """Into the agent's archive without asking a model, so that they are found by their words. Raises Invalid."""
    archive = archive_of(agent.pk) or _open_archive(agent.pk, _embedding_of(agent))
    return store_in(archive, new, Embedded(None), by)


def archive_of(agent_id: str) -> Archive | None:
    """The archive that the agent writes to: the first that it was given."""
    return Archive.objects.filter(agents=agent_id).order_by("created_at", "id").first()


def list_passages(agent_id: str, cursor: Cursor, words: str = "") -> list[Passage]:
    rows = Passage.objects.filter(archive__agents=agent_id)
    if words:
        rows = rows.filter(text__icontains=words)
    return page(rows, cursor)


@transaction.atomic
def delete_passage(organization_id: str, passage_id: str, *, agent_id: str = "", archive_id: str = "") -> None:
    """Raises NotFound where it is not the organization's, or not in the agent's or the given archive."""
    rows = Passage.objects.filter(pk=passage_id, organization_id=organization_id).select_related("archive")
    if agent_id:
        rows = rows.filter(archive__agents=agent_id)
    if archive_id:
        rows = rows.filter(archive_id=archive_id)
    passage = rows.first()
    if passage is None:
        raise NotFound(f"Passage with ID {passage_id} not found")
    passage.delete()
    _touch(passage.archive)


def search(wanted: Search, context: CallContext) -> list[Hit]:
    """The best first. Each archive is searched the way it was filled. Raises ProviderError, BadInput."""
    return found(wanted, query_vectors(wanted, context))


def query_vectors(wanted: Search, context: CallContext) -> dict[str, Sequence[float]]:
    """The query as a vector for each embedding model of the archives in question: the part that calls models."""
    if not wanted.query.strip():
        return {}
    filled = _archives(wanted).exclude(embedding=None).exclude(embedding_dim=None)
    handles = {handle for handle in filled.values_list("embedding", flat=True) if handle}
    traced = _for_embedding(context)
    return {handle: embed_texts([wanted.query], handle=handle, context=traced)[0] for handle in sorted(handles)}


def found(wanted: Search, vectors: Mapping[str, Sequence[float]]) -> list[Hit]:
    """The part of a search that reads the database alone."""
    rows = _filtered(wanted)
    if not wanted.query.strip():
        return [Hit(passage, 0.0) for passage in rows.order_by("-created_at", "id")[: wanted.limit]]
    hits = _by_words(rows.filter(embedding=None), wanted)
    for handle, vector in vectors.items():
        same = rows.filter(archive__embedding=handle, archive__embedding_dim=len(vector)).exclude(embedding=None)
        near = same.annotate(distance=CosineDistance("embedding", list(vector))).order_by("distance", "id")
        hits += [Hit(passage, 1 - passage.distance) for passage in near.defer("embedding")[: wanted.limit]]
    return sorted(hits, key=lambda hit: -hit.score)[: wanted.limit]


def _by_words(rows: QuerySet[Passage], wanted: Search) -> list[Hit]:
    vector = SearchVector("text", config="simple")
    query = text_query(wanted.query)
    ranked = rows.annotate(found=vector, rank=SearchRank(vector, query, normalization=32)).filter(found=query)
    return [Hit(passage, passage.rank) for passage in ranked.order_by("-rank", "-created_at")[: wanted.limit]]


def text_query(query: str) -> SearchQuery:
    """Any of the words, so that a whole sentence finds something; quotes, minus and OR work as on the web."""
    words = re.findall(r"\w+", query)
    if not words or _OPERATORS.search(query):
        return SearchQuery(query, config="simple", search_type="websearch")
    return SearchQuery(" | ".join(words), config="simple", search_type="raw")


def _filtered(wanted: Search) -> QuerySet[Passage]:
    """Every condition stands in the WHERE, before any limit. Tags need one query shape for any and another for all."""
    rows = Passage.objects.filter(archive__in=_archives(wanted)).select_related("archive")
    if wanted.tags:
        tags = list(wanted.tags)
        rows = rows.filter(tags__contains=tags) if wanted.match_all_tags else rows.filter(tags__overlap=tags)
    if wanted.start:
        rows = rows.filter(created_at__gte=wanted.start)
    if wanted.end:
        rows = rows.filter(created_at__lte=wanted.end)
    return rows


def _archives(wanted: Search) -> QuerySet[Archive]:
    archives = Archive.objects.filter(organization_id=wanted.organization_id)
    if wanted.archive_id:
        archives = archives.filter(pk=wanted.archive_id)
    if wanted.agent_id:
        archives = archives.filter(agents=wanted.agent_id)
    return archives


def _open_archive(agent_id: str, handle: str | None) -> Archive:
    """The agent's own archive; the lock lets only one of two first inserts make it."""
    agent = Agent.objects.select_for_update(no_key=True).get(pk=agent_id)
    archive = archive_of(agent_id)
    if archive is None:
        archive = Archive.objects.create(
            organization_id=agent.organization_id, name=f"{agent.name}'s Archive", embedding=handle
        )
        agent.archives.add(archive)
    return archive


def _embedding_of(agent: Agent) -> str | None:
    return agent.embedding or settings.DEFAULT_EMBEDDING or None


def _for_embedding(context: CallContext) -> CallContext:
    return replace(context, call_type="embedding")


def _touch(archive: Archive) -> None:
    memory.touch_prompt(Agent.objects.filter(archives=archive).values_list("pk", flat=True))


def _check_text(text: str) -> str:
    if not text.strip():
        raise Invalid("A passage needs a text.")
    if estimate_tokens(text) > MAX_TOKENS:
        raise Invalid(f"A passage has at most {MAX_TOKENS} tokens; this one has about {estimate_tokens(text)}.")
    return text


def _check_tags(tags: Iterable[str]) -> list[str]:
    cleaned = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if any(len(tag) > MAX_TAG for tag in cleaned):
        raise Invalid(f"A tag has at most {MAX_TAG} characters.")
    return cleaned
