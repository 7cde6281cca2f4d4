"""300 followers of event streams on one web process: few Redis connections, and each sees every event once."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import urlsplit

import httpx
import orjson
import psutil
from letta_client import Letta

from tests.support.live import MODEL, Live

FOLLOWERS = 300
RUNS = 6
TOKENS = 80
MOST_CONNECTIONS = 4


async def test_three_hundred_followers_share_a_few_connections(live: Live, client: Letta) -> None:
    before = connections(live)
    live.mock("__config", {"token_ms": 40})
    try:
        agents = [client.agents.create(model=MODEL, include_base_tools=False).id for _ in range(RUNS)]
        runs = [start(live, agent_id) for agent_id in agents]
        limits = httpx.Limits(max_connections=FOLLOWERS)
        async with httpx.AsyncClient(base_url=live.url, timeout=60, limits=limits) as http:
            following = asyncio.gather(*(follow(http, live.key, runs[n % RUNS]) for n in range(FOLLOWERS)))
            await asyncio.sleep(1.5)
            during = connections(live)
            seen = await following
    finally:
        live.mock("__config", {"token_ms": 0})
    print(f"Redis connections of the web process: {before} before, {during} with {FOLLOWERS} followers of {RUNS} runs")
    assert during - before <= MOST_CONNECTIONS
    whole = Counter(len(text.split()) for _, text in seen)
    assert whole == {TOKENS: FOLLOWERS}, "how many followers saw how many tokens"
    assert all(numbers == sorted(set(numbers)) for numbers, _ in seen)
    for run in range(RUNS):
        mine = seen[run::RUNS]
        assert all(numbers == mine[0][0] for numbers, _ in mine), "every follower of a run sees the same frames"


def connections(live: Live) -> int:
    """How many the web process has to Redis."""
    process = live.children["web"].process
    assert process is not None
    port = urlsplit(live.redis_url).port
    web = psutil.Process(process.pid)
    found = [link for one in (web, *web.children(recursive=True)) for link in one.net_connections("tcp")]
    return sum(bool(link.raddr) and link.raddr.port == port for link in found)


def start(live: Live, agent_id: str) -> str:
    body = {"input": f"[[tokens {TOKENS}]]", "streaming": True, "stream_tokens": True, "background": True}
    with (
        httpx.Client(base_url=live.url, headers={"Authorization": f"Bearer {live.key}"}) as http,
        http.stream("POST", f"/v1/agents/{agent_id}/messages", json=body) as response,
    ):
        first = next(line for line in response.iter_lines() if line.startswith("data: "))
    return str(orjson.loads(first[6:])["run_id"])


async def follow(http: httpx.AsyncClient, key: str, run_id: str) -> tuple[list[int], str]:
    """(frame numbers, the text) of the run from its first event to its end."""
    numbers: list[int] = []
    text = ""
    headers = {"Authorization": f"Bearer {key}"}
    body = {"starting_after": 0, "include_pings": False}
    async with http.stream("POST", f"/v1/runs/{run_id}/stream", json=body, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            frame = orjson.loads(line[6:])
            if frame.get("seq_id"):
                numbers.append(frame["seq_id"])
            if frame["message_type"] == "assistant_message":
                text += frame["content"]
    return numbers, text
