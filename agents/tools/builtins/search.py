"""`web_search`: asks the back end that the agent's secrets or this server's settings give a key for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from agents.models import ToolType
from agents.tools.arguments import clean
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.builtins.search_backends import BACKENDS, TEXT_CHARS, Backend, Question
from agents.tools.external import ExternalReturn, ExternalTool, ToolRow, always
from agents.tools.variables import variables_of
from core.db import release_connection
from core.fetching import body_of
from core.outbound import NotDelivered, Policy, opened

MOST_RESULTS = 20
MOST_BYTES = 5_000_000
FIELD_CHARS = 2_000
HIGHLIGHTS = 5
DEFAULT_RESULTS = 10
# The addresses are the operator's, who may well search with a server of the own network.
POLICY = Policy(private=True, setting="", agent="Perennial-Search/1")
NOT_SET = (
    "web_search is not set up: an agent's secret EXA_API_KEY, TAVILY_API_KEY or BRAVE_API_KEY, or a setting of this "
    "server (these, or SEARXNG_URL), makes it work. Do without it, and tell the user if it matters"
)


def web_search(context: ToolContext, tool: ToolRow, args: Args) -> ExternalReturn:
    backend, key = chosen(variables_of(context.agent_id))
    question = _question(args)
    release_connection()
    results = _results(backend, _answer(backend, question, key))
    said: dict[str, Any] = {"query": question.query, "results": results[: question.count]}
    if ignored := _ignored(backend, args):
        said["ignored_arguments"] = ignored
    return ExternalReturn(clean(json.dumps(said, ensure_ascii=False)))


def chosen(variables: Mapping[str, str]) -> tuple[Backend, str]:
    """Who is asked, and by which key: the agent's own keys come first. Raises ToolError."""
    for keys in (variables, settings.SEARCH_KEYS):
        for backend in BACKENDS:
            if backend.key and (key := keys.get(backend.key, "").strip()):
                if not (key.isascii() and key.isprintable()):
                    raise ToolError(f"{backend.key} holds what no key can be: its owner must set it again")
                return backend, key
    for backend in BACKENDS:
        if not backend.key and settings.SEARCH_URLS[backend.name]:
            return backend, ""
    raise ToolError(NOT_SET)


def _question(args: Args) -> Question:
    query = args["query"].strip()
    if not query:
        raise ToolError("'query' is empty: say what to look for")
    return Question(
        query=query[:FIELD_CHARS],
        count=min(max(args.get("num_results", DEFAULT_RESULTS), 1), MOST_RESULTS),
        category=args.get("category", ""),
        text=args.get("include_text", False),
        include=_domains(args, "include_domains"),
        exclude=_domains(args, "exclude_domains"),
        start=_day(args, "start_published_date"),
        end=_day(args, "end_published_date"),
        country=args.get("user_location", "").upper(),
    )


def _domains(args: Args, name: str) -> tuple[str, ...]:
    found = tuple(args.get(name, ()))
    for domain in found:
        if not re.fullmatch(r"[\w.*/-]{1,253}", domain):
            raise ToolError(f"'{name}' must hold domains like example.com, not {domain[:80]}")
    return found


def _day(args: Args, name: str) -> date | None:
    text = str(args.get(name, ""))
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        raise ToolError(f"'{name}' must be a date like 2026-01-31, not {text[:40]}") from None


def _answer(backend: Backend, question: Question, key: str) -> Any:
    asked = backend.ask(question, key, backend.categories.get(question.category, ""))
    base = settings.SEARCH_URLS[backend.name].rstrip("/")
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **asked.headers}
    content = asked.content
    if content is not None:
        headers["Content-Type"] = "application/json"
    method = "GET" if content is None else "POST"
    try:
        with opened(method, base + asked.path, POLICY, headers=headers, content=content) as answer:
            return json.loads(body_of(answer, urlsplit(base).hostname or "", MOST_BYTES))
    except NotDelivered as error:
        hint = f" The key {backend.key} was refused." if error.status in (401, 403) and backend.key else ""
        raise ToolError(f"the search failed: {error}{hint}") from None
    except (ValueError, RecursionError):
        raise ToolError(f"the search failed: {backend.name} sent what is no JSON") from None


def _results(backend: Backend, answer: Any) -> list[dict[str, Any]]:
    """Whatever was sent, of the shape that a model is told."""
    try:
        items = backend.items(answer)
    except (LookupError, TypeError, AttributeError):
        raise ToolError(f"the search failed: {backend.name} answered without results") from None
    names = {"title": "title", "url": "url", **backend.names}
    found = ({ours: _short(ours, item.get(theirs)) for ours, theirs in names.items()} for item in items if _is(item))
    return [{name: value for name, value in result.items() if value} for result in found]


def _is(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("url"), str)


def _short(name: str, value: object) -> Any:
    if name == "highlights" and isinstance(value, list):
        return [text[:FIELD_CHARS] for text in value[:HIGHLIGHTS] if isinstance(text, str)]
    if not isinstance(value, str):
        return None
    return value[: TEXT_CHARS if name == "text" else FIELD_CHARS]


def _ignored(backend: Backend, args: Args) -> list[str]:
    """What the back end cannot do, so that a model does not take the results for what they are not."""
    names = [name for name in sorted(backend.lacks) if args.get(name)]
    return names + (["category"] if args.get("category") and args["category"] not in backend.categories else [])


WEB_SEARCH = ExternalTool(ToolType.BUILTIN, web_search, always, name="web_search")
