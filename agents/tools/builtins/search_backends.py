"""Who searches the web: each back end's way to the wire and from the wire, in one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import urlencode

TEXT_CHARS = 10_000  # of each result, where the text is asked for
Items = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    query: str
    count: int
    category: str = ""
    text: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    country: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `body` None: it is a GET."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @property
    def content(self) -> bytes | None:
        return None if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """`key`: the variable that holds its key; empty: it takes none. `lacks`: arguments of the tool that it cannot
    honour. `categories`: its names for those it knows.

    `ask(question, key, category)`; `items(answer)`: its results, each with names of its own; `names`: ours of them.
    """

    name: str
    key: str
    ask: Callable[[Question, str, str], Asked]
    items: Callable[[Any], Items]
    names: Mapping[str, str]
    lacks: frozenset[str] = frozenset()
    categories: Mapping[str, str] = field(default_factory=dict)


def _exa(question: Question, key: str, category: str) -> Asked:
    dates = {
        "startPublishedDate": question.start and f"{question.start}T00:00:00.000Z",
        "endPublishedDate": question.end and f"{question.end}T23:59:59.999Z",
    }
    narrowed = {
        "category": category,
        "includeDomains": question.include,
        "excludeDomains": question.exclude,
        "userLocation": question.country,
        **dates,
    }
    contents = {"text": {"maxCharacters": TEXT_CHARS}} if question.text else {"highlights": True}
    body = {"query": question.query, "numResults": question.count, "contents": contents}
    return Asked("/search", {"x-api-key": key}, body | _given(narrowed))


def _tavily(question: Question, key: str, category: str) -> Asked:
    narrowed = {
        "topic": category,
        "include_domains": question.include,
        "exclude_domains": question.exclude,
        "start_date": question.start and str(question.start),
        "end_date": question.end and str(question.end),
        "include_raw_content": "markdown" if question.text else "",
    }
    body = {"query": question.query, "max_results": question.count}
    return Asked("/search", {"Authorization": f"Bearer {key}"}, body | _given(narrowed))


def _brave(question: Question, key: str, category: str) -> Asked:
    span = ""
    if question.start or question.end:
        span = f"{question.start or date(1990, 1, 1)}to{question.end or date.today()}"
    wanted = {"q": _with_sites(question), "count": question.count, "country": question.country, "freshness": span}
    return Asked(f"/res/v1/web/search?{urlencode(_given(wanted))}", {"X-Subscription-Token": key})


def _searxng(question: Question, key: str, category: str) -> Asked:
    wanted = {"q": _with_sites(question), "format": "json", "categories": category}
    return Asked(f"/search?{urlencode(_given(wanted))}")


def _with_sites(question: Question) -> str:
    """As search engines take it in the query itself."""
    only = " OR ".join(f"site:{domain}" for domain in question.include)
    return " ".join([question.query, *([only] if only else []), *(f"-site:{domain}" for domain in question.exclude)])


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


# In the order in which they are looked for.
BACKENDS = (
    Backend(
        name="exa",
        key="EXA_API_KEY",
        ask=_exa,
        items=lambda answer: list(answer["results"]),
        names={"published_date": "publishedDate", "author": "author", "highlights": "highlights", "text": "text"},
        categories={
            name: name
            for name in (
                "company",
                "research paper",
                "news",
                "pdf",
                "github",
                "tweet",
                "personal site",
                "linkedin profile",
                "financial report",
            )
        },
    ),
    Backend(
        name="tavily",
        key="TAVILY_API_KEY",
        ask=_tavily,
        items=lambda answer: list(answer["results"]),
        names={"published_date": "published_date", "highlights": "content", "text": "raw_content"},
        lacks=frozenset({"user_location"}),
        categories={"news": "news", "financial report": "finance"},
    ),
    Backend(
        name="brave",
        key="BRAVE_API_KEY",
        ask=_brave,
        items=lambda answer: list((answer.get("web") or {}).get("results") or ()),
        names={"published_date": "page_age", "highlights": "description"},
        lacks=frozenset({"include_text"}),
    ),
    Backend(
        name="searxng",
        key="",
        ask=_searxng,
        items=lambda answer: list(answer["results"]),
        names={"published_date": "publishedDate", "author": "author", "highlights": "content"},
        lacks=frozenset({"include_text", "start_published_date", "end_published_date", "user_location"}),
        categories={"news": "news", "research paper": "science"},
    ),
)
