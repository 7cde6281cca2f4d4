"""`fetch_webpage`: what a page says, as Markdown without its menus and adverts; other text as it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
from django.conf import settings

from agents.models import ToolType
from agents.tools.arguments import clean
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.external import ExternalReturn, ExternalTool, ToolRow, always
from core.db import release_connection
from core.fetching import Fetched, fetch
from core.outbound import NotDelivered, Policy

MOST_BYTES = 3_000_000
READ_S = 25.0
ACCEPT = "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"
PAGES = frozenset({"text/html", "application/xhtml+xml"})
TEXTS = frozenset({"json", "xml", "javascript", "yaml", "x-yaml", "toml", "x-ndjson", "sql"})
_READABLE = str(Path(__file__).with_name("readable.py"))


def fetch_webpage(context: ToolContext, tool: ToolRow, args: Args) -> ExternalReturn:
    policy = Policy(settings.FETCH_PRIVATE_ADDRESSES, "FETCH_PRIVATE_ADDRESSES", "Perennial-Pages/1")
    try:
        url = str(httpx.URL(args["url"].strip()))  # with what is not ASCII encoded
    except (httpx.InvalidURL, UnicodeError):
        raise ToolError("this is no URL: give one like https://example.com/page") from None
    release_connection()
    try:
        found = fetch(url, policy, MOST_BYTES, accept=ACCEPT)
    except NotDelivered as error:
        raise ToolError(str(error)) from None
    if context.abandoned():
        return ExternalReturn("")
    return ExternalReturn(clean(_read(found)))


def _read(found: Fetched) -> str:
    kind = found.media_type or _sniffed(found.body)
    if kind in PAGES:
        return _readable(found)
    if kind.startswith("text/") or kind.removeprefix("application/").rpartition("+")[2] in TEXTS:
        return found.body.decode(found.charset or "utf-8", "replace")
    raise ToolError(f"this is {kind[:80]}, and no page: only HTML and other text can be read")


def _sniffed(body: bytes) -> str:
    """Where nobody said what it is."""
    if b"\0" in body:
        return "application/octet-stream"
    return "text/html" if body.lstrip()[:1] == b"<" else "text/plain"


def _readable(found: Fetched) -> str:
    page = found.body
    if found.charset:
        page = page.decode(found.charset, "replace").encode()
    command = [sys.executable, "-I", _READABLE, found.url]
    try:
        done = subprocess.run(command, input=page, capture_output=True, timeout=READ_S, env={}, check=True)
        said = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        raise ToolError("this page is too large or too tangled to be read") from None
    if not said["text"].strip():
        raise ToolError("this page holds no text that can be read; it may be made by a script in the browser")
    title = f"Title: {said['title']}\n" if said["title"] else ""
    return f"{title}URL: {found.url}\n\n{said['text']}"


FETCH_WEBPAGE = ExternalTool(ToolType.BUILTIN, fetch_webpage, always, name="fetch_webpage")
