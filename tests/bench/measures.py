"""What is measured of a running server, each beside the model vendor's mock called directly in the same run."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.client import Link, median_ms

TOKENS = 2_000
SETTLE_S = 5
MEMORY = '[[tool memory_insert {"label": "human", "new_string": "Likes tea."} then say Noted]]'
BLOCKS = [{"label": "human", "value": "Name: Ada.", "limit": 1_000_000}, {"label": "persona", "value": "I am Sam."}]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, what it may be, and what the retired server needed on such a machine."""

    name: str
    unit: str
    value: float
    wanted: float
    retired: float | None
    baseline: str = ""
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.wanted if self.more_is_better else self.value <= self.wanted


@dataclass(slots=True)
class Bench:
    url: str
    key: str
    mock_url: str
    model: str = "openai/gpt-4o-mini"

    def link(self) -> Link:
        return Link(self.url, self.key)

    def agent(self, link: Link) -> str:
        body = {"name": f"bench-{uuid.uuid4().hex[:8]}", "model": self.model, "memory_blocks": BLOCKS}
        return str(link.call("POST", "/v1/agents/", body)["id"])

    def mock_body(self, text: str, messages: int = 0) -> dict[str, Any]:
        """About what the server sends the vendor: a system prompt, tools, the history."""
        system = {"role": "system", "content": "x" * 3000}
        history = [{"role": "user", "content": f"message number {n}"} for n in range(messages)]
        tool = {"type": "function", "function": {"name": "memory_insert", "parameters": {"type": "object"}}}
        said = {"role": "user", "content": text}
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": "gpt-4o-mini", "messages": [system, *history, said], "tools": [tool], **options}

    def mock_ms(self, text: str, times: int, messages: int = 0) -> float:
        link = Link(self.mock_url)
        body = self.mock_body(text, messages)
        return median_ms(lambda: [*link.lines("/v1/chat/completions", body)], times)

    def messages(self, times: int) -> list[Figure]:
        link = self.link()
        agent, mock = self.agent(link), self.mock_ms("[[say hello world]]", times)
        path = f"/v1/agents/{agent}/messages"
        plain = median_ms(lambda: link.call("POST", path, {"input": "[[say hello world]]"}), times)
        tool = median_ms(lambda: link.call("POST", path, {"input": MEMORY}), max(10, times // 2))
        beside = f"mock {mock:.1f} ms, in all {plain:.1f} ms"
        return [
            Figure("non-streamed message, beyond the mock", "ms", plain - mock, 19, 191, beside),
            Figure(
                "with a memory-tool call, beyond 2 mock calls", "ms", tool - 2 * mock, 43, 431, f"in all {tool:.1f}"
            ),
        ]

    def streaming(self, times: int) -> list[Figure]:
        link, mock = self.link(), Link(self.mock_url)
        path = f"/v1/agents/{self.agent(link)}/messages"
        body = {"input": "[[say hello world]]", "streaming": True, "stream_tokens": True}
        first = median_first(lambda: link.lines(path, body), b"assistant_message", times)
        plain = self.mock_body("[[say hello world]]")
        mock_first = median_first(lambda: mock.lines("/v1/chat/completions", plain), b'"content"', times)
        many = f"[[tokens {TOKENS}]]"
        long = {"input": many, "streaming": True, "stream_tokens": True}
        ours = median_ms(lambda: [*link.lines(path, long)], max(5, times // 10), warm_up=1)
        theirs = self.mock_ms(many, max(5, times // 10))
        short_ours = median_ms(lambda: [*link.lines(path, body)], times)
        short_theirs = self.mock_ms("[[say hello world]]", times)
        token = ((ours - short_ours) - (theirs - short_theirs)) * 1000 / TOKENS
        return [
            Figure("first token, beyond the mock", "ms", first - mock_first, 13, 130, f"mock {mock_first:.1f} ms"),
            Figure("a streamed token, beyond the mock", "µs", token, 65, 650, f"mock {theirs * 1000 / TOKENS:.0f} µs"),
        ]

    def throughput(self, seconds: float, agents: int = 16) -> list[Figure]:
        link = self.link()
        ids = [self.agent(link) for _ in range(agents)]
        counts = [0] * agents
        end = time.perf_counter() + seconds

        def talk(index: int) -> None:
            own = self.link()
            while time.perf_counter() < end:
                own.call("POST", f"/v1/agents/{ids[index]}/messages", {"input": "[[say hello world]]"})
                counts[index] += 1

        threads = [threading.Thread(target=talk, args=(index,)) for index in range(agents)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = sum(counts) / (time.perf_counter() - began)
        return [Figure(f"{agents} agents at once", "messages/s", rate, 60, 6.1, more_is_better=True)]

    def reading(self, times: int) -> list[Figure]:
        link = self.link()
        agent = self.agent(link)
        for _ in range(50):
            link.call("POST", f"/v1/agents/{agent}/messages", {"input": "[[say hello world]]"})
        calls: tuple[tuple[str, float, float, Callable[[], Any]], ...] = (
            ("agent create", 10, 51, lambda: self.agent(link)),
            ("agent retrieve", 5, 26, lambda: link.raw("GET", f"/v1/agents/{agent}")),
            ("list of 20 agents", 10, 94, lambda: link.raw("GET", "/v1/agents/?limit=20")),
            ("page of 100 messages", 10, 45, lambda: link.raw("GET", f"/v1/agents/{agent}/messages?limit=100")),
        )
        return [Figure(name, "ms", median_ms(call, times), wanted, was) for name, wanted, was, call in calls]

    def flatness(self, times: int) -> list[Figure]:
        """A message at 10 and at 1,000 messages of history, each beyond the mock given as much.

        The 500 turns that fill the history leave traces to ship and parts to merge: they are let finish first.
        """
        link = self.link()
        agent = self.agent(link)
        path = f"/v1/agents/{agent}/messages"
        send = itertools.count()

        def message() -> None:
            link.call("POST", path, {"input": f"[[say reply {next(send)}]]"})

        while next(send) < 4:
            message()
        at_10 = median_ms(message, times, warm_up=0)
        while len(link.call("GET", f"/v1/agents/{agent}")["message_ids"]) < 1000:
            for _ in range(25):
                message()
        time.sleep(SETTLE_S)
        at_1000 = median_ms(message, times, warm_up=0)
        mock_10 = self.mock_ms("[[say reply]]", times, 10)
        mock_1000 = self.mock_ms("[[say reply]]", times, 1000)
        ratio = (at_1000 - mock_1000) / (at_10 - mock_10)
        beside = f"{at_10:.1f} ms and {at_1000:.1f} ms, mock {mock_10:.1f} and {mock_1000:.1f}"
        return [Figure("1,000 messages of history against 10, beyond the mock", "times", ratio, 1.1, 2.45, beside)]


def median_first(lines: Callable[[], Any], wanted: bytes, times: int) -> float:
    """Milliseconds to the first line that holds `wanted`; the rest is read too."""
    took = []
    for _ in range(times + 3):
        began = time.perf_counter()
        first = None
        for line in lines():
            if first is None and wanted in line:
                first = (time.perf_counter() - began) * 1000
        took.append(first or 0.0)
    took = sorted(took[3:])
    return took[len(took) // 2]
