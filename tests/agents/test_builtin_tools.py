"""The tools that reach beyond this server: code, searches, and pages that strangers wrote."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.actions import attach_tool
from agents.models import AgentTool, Tool
from agents.sandbox import configured
from agents.tools import registry
from agents.tools.base import ToolContext, ToolError
from agents.tools.builtins import page, search
from conversations.models import Conversation, Message, RunStatus
from core import network
from core.ids import new_id
from tests.providers.fake_server import FakeServer, Reply
from tests.support.api import Tenant
from tests.support.turns import fresh, thinker, turn

# Real transactions: the thread that renews leases must see the runs.
in_turns = pytest.mark.django_db(transaction=True)
NAMES = ("run_code", "web_search", "fetch_webpage")
HTML = {"Content-Type": "text/html; charset=iso-8859-1"}
PAGE = """<!doctype html><html><head><title>Owls</title><meta charset="utf-8"></head><body>
<nav><a href="/login">Log in</a></nav>
<article><h1>Owls</h1><p>Owls are birds of the night, and live in a <a href="/h">hollow</a> \xe9rable.</p>
<p>They hear a mouse under the snow, since one of their ears sits higher than the other, and the disc of feathers around
their eyes gathers what is to be heard; their wings make no sound, as the edges of the feathers are soft.</p></article>
<script>alert(1)</script></body></html>"""


@pytest.fixture
def site(settings: Any) -> Iterator[FakeServer]:
    settings.FETCH_PRIVATE_ADDRESSES = True
    server = FakeServer()
    settings.SEARCH_URLS = {"exa": server.url, "tavily": server.url, "brave": server.url, "searxng": ""}
    settings.SEARCH_KEYS = {}
    yield server
    server.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
def sandboxed(settings: Any, folder: Any) -> Iterator[None]:
    settings.SANDBOX_DIR, settings.SANDBOX_POOL = folder, 0
    configured.sandbox.cache_clear()
    yield
    configured.sandbox.cache_clear()


def agent_with_all(tenant: Tenant, **fields: Any) -> Conversation:
    registry.sync_base_tools()
    conversation = thinker(tenant, **fields)
    for tool in Tool.objects.filter(organization=None, name__in=NAMES):
        attach_tool(tenant.caller, conversation.agent_id, tool.pk)
    return fresh(conversation)


def called(tenant: Tenant, conversation: Conversation, name: str, **args: Any) -> dict[str, Any]:
    run = turn(tenant, conversation, f"[[tool {name} {json.dumps(args)} then say Done]]")
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 2)
    [item] = Message.objects.get(run=run, role="tool").tool_returns
    return dict(item)


def context() -> ToolContext:
    return ToolContext(
        organization_id="org", agent_id=new_id("agent"), conversation_id="conv", now=datetime(2026, 11, 24, tzinfo=UTC)
    )


def fetched(url: str) -> str:
    return page.fetch_webpage(context(), {}, {"url": url}).content


def why(url: str) -> str:
    with pytest.raises(ToolError) as refused:
        fetched(url)
    return refused.value.message


@pytest.mark.django_db
def test_an_agent_gets_none_of_them_unasked(tenant: Tenant) -> None:
    registry.sync_base_tools()
    conversation = thinker(tenant)
    assert not AgentTool.objects.filter(agent=conversation.agent, tool__name__in=NAMES).exists()
    assert set(Tool.objects.filter(tool_type="letta_builtin").values_list("name", flat=True)) == set(NAMES)


@in_turns
@pytest.mark.usefixtures("redis", "sandboxed")
def test_code_runs_in_a_turn_in_each_language_of_the_sandbox(tenant: Tenant) -> None:
    conversation = agent_with_all(tenant, secrets={"EXA_API_KEY": "hidden"})
    python = called(tenant, conversation, "run_code", language="python", code="print('hi')\nx = 20\nx * 2 + 2")
    assert json.loads(python["content"]) == {"result": "42", "stdout": "hi\n"}
    assert (python["is_error"], python["stdout"]) == (False, ["hi\n"])
    later = "import fs from 'node:fs';\nsetTimeout(() => console.log(typeof fs.readFileSync), 5);"
    node = called(tenant, conversation, "run_code", language="js", code=later)
    assert json.loads(node["content"]) == {"stdout": "function\n"}
    typed = "enum A { B = 7 }\nconst n: number = await Promise.resolve(A.B);\nconsole.log(n);"
    assert json.loads(called(tenant, conversation, "run_code", language="ts", code=typed)["content"]) == {
        "stdout": "7\n"
    }
    seen = called(tenant, conversation, "run_code", language="python", code="import os; 'EXA_API_KEY' in os.environ")
    assert json.loads(seen["content"])["result"] == "False"


@in_turns
@pytest.mark.usefixtures("redis", "sandboxed")
def test_the_model_is_told_what_is_wrong_with_its_code(tenant: Tenant) -> None:
    conversation = agent_with_all(tenant)
    failed = called(tenant, conversation, "run_code", language="python", code="print(1)\n1 / 0")
    said = json.loads(failed["content"])
    assert (failed["is_error"], said["stdout"]) == (True, "1\n")
    assert 'File "<code>", line 2' in said["error"]
    assert "ZeroDivisionError" in said["error"]
    other = called(tenant, conversation, "run_code", language="java", code="class A {}")
    assert (other["is_error"], "python, js, ts" in other["content"]) == (True, True)
    net = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9', timeout=3)"
    assert called(tenant, conversation, "run_code", language="python", code=net)["is_error"]


@in_turns
@pytest.mark.usefixtures("redis")
def test_a_page_is_read_in_a_turn(tenant: Tenant, site: FakeServer) -> None:
    site.replies = [Reply(stream=PAGE.encode("iso-8859-1"), headers=HTML)]
    given = called(tenant, agent_with_all(tenant), "fetch_webpage", url=f"{site.url}/owls?a=ä")
    url = f"{site.url}/owls?a=%C3%A4"
    assert given["content"].startswith(f"Title: Owls\nURL: {url}\n\n# Owls\n")
    assert f"[hollow]({site.url}/h) érable." in given["content"]
    assert not any(word in given["content"] for word in ("alert", "Log in"))
    assert site.paths == ["/owls?a=%C3%A4"]


def test_other_text_is_read_as_it_stands_and_what_is_none_is_refused(site: FakeServer) -> None:
    pdf = {"Content-Type": "application/pdf"}
    site.replies = [
        Reply({"a": 1}),
        Reply(stream=b"<a>", headers={"Content-Type": "application/atom+xml"}),
        Reply(stream="é".encode(), headers={"Content-Type": "text/plain; charset=punycode"}),
        Reply(stream=b"%PDF-1.7", headers=pdf),
        Reply(stream=b"\x00\x01", headers={"Content-Type": ""}),
        Reply({}, 404),
    ]
    assert [fetched(site.url) for _ in range(3)] == ['{"a": 1}', "<a>", "é"]
    assert "application/pdf" in why(site.url)
    assert "octet-stream" in why(site.url)
    assert "answered 404" in why(site.url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "example.com", "http://u:p@x.test/", "http://[::1", "http://\ud800/"]
)
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    assert "URL" in why(url)


def test_a_redirect_into_our_own_network_is_not_followed(
    site: FakeServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FETCH_PRIVATE_ADDRESSES = False
    assert "private network" in why(site.url)
    monkeypatch.setattr(network, "is_public", lambda address: address == ipaddress.ip_address("127.0.0.1"))
    inner = site.url.replace("127.0.0.1", "127.0.0.2")
    site.replies = [Reply({}, 302, headers={"Location": f"{inner}/secret"}), Reply(stream=PAGE.encode(), headers=HTML)]
    assert "private network" in why(f"{site.url}/one")
    assert site.paths == ["/one"]


@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 200_000 + b"deep",
        b"<table><tr><td>" * 50_000,
        b"<html><a " + b"x=1 " * 200_000,
        bytes(range(256)) * 1_000,
        b"<html><body><script>document.write('all of it')</script>",
    ],
    ids=["deep", "nested tables", "attributes", "bytes", "script alone"],
)
def test_a_hostile_page_costs_a_word_and_no_more(site: FakeServer, body: bytes) -> None:
    site.replies = [Reply(stream=body, headers={"Content-Type": "text/html"})]
    try:
        said = fetched(site.url)
    except ToolError as error:
        said = error.message
    assert len(said) < 300_000


def test_a_page_has_a_size_and_its_reading_a_time(site: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    site.replies = [Reply(stream=PAGE.encode(), headers=HTML)]
    monkeypatch.setattr(page, "READ_S", 0.01)
    assert "too large or too tangled" in why(site.url)
    monkeypatch.setattr(page, "MOST_BYTES", 100)
    assert "more than 100 bytes" in why(site.url)


ASKED = {
    "query": "owls",
    "num_results": 3,
    "category": "news",
    "include_text": True,
    "include_domains": ["a.org", "b.org"],
    "exclude_domains": ["c.org"],
    "start_published_date": "2026-01-02",
    "end_published_date": "2026-02-03T10:00:00Z",
    "user_location": "de",
}
EXA = {
    "query": "owls",
    "numResults": 3,
    "contents": {"text": {"maxCharacters": 10000}},
    "category": "news",
    "includeDomains": ["a.org", "b.org"],
    "excludeDomains": ["c.org"],
    "userLocation": "DE",
    "startPublishedDate": "2026-01-02T00:00:00.000Z",
    "endPublishedDate": "2026-02-03T23:59:59.999Z",
}
TAVILY = {
    "query": "owls",
    "max_results": 3,
    "topic": "news",
    "include_domains": ["a.org", "b.org"],
    "exclude_domains": ["c.org"],
    "start_date": "2026-01-02",
    "end_date": "2026-02-03",
    "include_raw_content": "markdown",
}
SITES = "q=owls+site%3Aa.org+OR+site%3Ab.org+-site%3Ac.org"
BRAVE = f"/res/v1/web/search?{SITES}&count=3&country=DE&freshness=2026-01-02to2026-02-03"
FOUND = {"title": "Owls", "url": "https://a.org/owls"}
TEXT = {**FOUND, "published_date": "2026-01-09", "text": "Whole."}


@pytest.mark.parametrize(
    "case",
    [
        (
            "EXA_API_KEY",
            ("/search", EXA, {"x-api-key": "secret"}),
            {"results": [{**FOUND, "publishedDate": "2026-01-09", "text": "Whole.", "score": 1}]},
            TEXT,
            [],
        ),
        (
            "TAVILY_API_KEY",
            ("/search", TAVILY, {"authorization": "Bearer secret"}),
            {"results": [{**FOUND, "published_date": "2026-01-09", "content": "A part.", "raw_content": "Whole."}]},
            {**TEXT, "highlights": "A part."},
            ["user_location"],
        ),
        (
            "BRAVE_API_KEY",
            (BRAVE, None, {"x-subscription-token": "secret"}),
            {"web": {"results": [{**FOUND, "page_age": "2026-01-09", "description": "A part."}]}},
            {**FOUND, "published_date": "2026-01-09", "highlights": "A part."},
            ["include_text", "category"],
        ),
        (
            "",
            (f"/search?{SITES}&format=json&categories=news", None, {}),
            {"results": [{**FOUND, "content": "A part.", "author": 7}, {"url": None}, "x"]},
            {**FOUND, "highlights": "A part."},
            ["end_published_date", "include_text", "start_published_date", "user_location"],
        ),
    ],
    ids=["exa", "tavily", "brave", "searxng"],
)
@pytest.mark.django_db
def test_each_back_end_is_asked_in_its_own_way_and_read_into_one_shape(
    site: FakeServer, settings: Any, case: tuple[str, tuple[str, Any, Mapping[str, str]], Any, Any, list[str]]
) -> None:
    key, (path, body, headers), answer, result, ignored = case
    settings.SEARCH_KEYS = {key: "secret"} if key else {}
    settings.SEARCH_URLS = {**settings.SEARCH_URLS, "searxng": "" if key else f"{site.url}/"}
    site.answer(answer)
    said = json.loads(search.web_search(context(), {}, ASKED).content)
    assert (site.paths, site.sent) == ([path], [body])
    assert headers.items() <= site.headers[0].items()
    assert said["results"] == [result]
    assert said.get("ignored_arguments", []) == ignored


@in_turns
@pytest.mark.usefixtures("redis")
def test_an_agent_searches_with_its_own_key_before_the_servers(tenant: Tenant, site: FakeServer, settings: Any) -> None:
    conversation = agent_with_all(tenant, secrets={"TAVILY_API_KEY": "own"})
    settings.SEARCH_KEYS = {"EXA_API_KEY": "ours"}
    site.answer({"results": [FOUND]})
    given = called(tenant, conversation, "web_search", query="owls")
    assert json.loads(given["content"]) == {"query": "owls", "results": [FOUND]}
    assert site.headers[0]["authorization"] == "Bearer own"
    refused = agent_with_all(tenant, name="Kim")
    site.replies = [Reply({"error": "no"}, 401)]
    said = called(tenant, refused, "web_search", query="owls")
    assert (said["is_error"], site.headers[1]["x-api-key"]) == (True, "ours")
    assert "The key EXA_API_KEY was refused" in said["content"]
    settings.SEARCH_KEYS = {}
    assert "not set up" in called(tenant, refused, "web_search", query="owls")["content"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "case",
    [
        (Reply(stream=b"<html>"), {}, "no JSON"),
        (Reply(stream=b"[" * 100_000), {}, "no JSON"),
        (Reply(["x"]), {}, "without results"),
        (Reply({"results": None}), {}, "without results"),
        (Reply(stream=b"x" * 2_000), {}, "more than 1000 bytes"),
        (Reply({}, 302, headers={"Location": "http://127.0.0.2/"}), {}, "answered 302"),
        (Reply({}), {"query": " "}, "empty"),
        (Reply({}), {"start_published_date": "soon"}, "must be a date"),
        (Reply({}), {"include_domains": ["a.org OR x"]}, "must hold domains"),
    ],
)
def test_a_search_that_fails_says_why(
    site: FakeServer, settings: Any, monkeypatch: pytest.MonkeyPatch, case: tuple[Reply, Any, str]
) -> None:
    reply, args, said = case
    settings.SEARCH_KEYS = {"EXA_API_KEY": "secret"}
    monkeypatch.setattr(search, "MOST_BYTES", 200_000 if reply.stream and reply.stream[:1] == b"[" else 1_000)
    site.replies = [reply]
    with pytest.raises(ToolError) as failed:
        search.web_search(context(), {}, {"query": "owls", **args})
    assert said in failed.value.message
    assert "secret" not in failed.value.message
