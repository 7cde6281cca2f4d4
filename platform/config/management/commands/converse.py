"""A short conversation with the demo agent, in the terminal, over the running server: what everything is for.

Shows the streamed reply, a memory block before and after, the run's steps, and its rows in ClickHouse.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core.amounts import as_text
from telemetry import queries
from telemetry.client import TelemetryUnavailable

LINES = ("Hello! My name is Ada and I love tea.", "What is my name?")
TRACE_WAIT_S = 15


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []  # it is a client: the server's settings are none of its own

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("lines", nargs="*", default=LINES, help="what to say to the agent")

    def handle(self, *args: Any, **options: Any) -> None:
        kept = json.loads((settings.DATA_DIR / "credentials.json").read_text())
        self.agent_id, self.organization_id = kept["agent_id"], kept["organization_id"]
        url = f"http://127.0.0.1:{settings.PORT}/v1"
        key = {"Authorization": f"Bearer {kept['api_key']}"}
        with httpx.Client(base_url=url, headers=key, timeout=300) as self.http:
            self._say("memory before", self._memory())
            runs = [self._send(line) for line in options["lines"]]
            self._say("memory after", self._memory())
            for run_id in runs:
                self._steps(run_id)
            self._traces(runs)

    def _memory(self) -> str:
        block = self.http.get(f"/agents/{self.agent_id}/core-memory/blocks/human").raise_for_status().json()
        return str(block["value"]) or "(empty)"

    def _send(self, line: str) -> str:
        """Stream the reply to the terminal; the run's id."""
        self.stdout.write(f"\n  you    {line}")
        body = {"input": line, "streaming": True, "stream_tokens": True}
        run_id, speaking = "", ""
        with self.http.stream("POST", f"/agents/{self.agent_id}/messages", json=body) as response:
            if response.status_code != 200:
                raise CommandError(f"The server answered {response.status_code}: {response.read().decode()}")
            for frame in _frames(response):
                run_id = frame.get("run_id") or run_id
                speaking = self._show(frame, speaking)
        self.stdout.write("")
        return run_id

    def _show(self, frame: dict[str, Any], speaking: str) -> str:
        kind = frame["message_type"]
        if kind == "assistant_message":
            lead = "" if speaking == kind else "\n  agent  "
            self.stdout.write(lead + frame["content"], ending="")
        elif kind == "tool_call_message":
            lead = f"\n  tool   {frame['tool_call'].get('name')} " if frame["tool_call"].get("name") else ""
            self.stdout.write(lead + (frame["tool_call"].get("arguments") or ""), ending="")
        elif kind == "tool_return_message":
            self.stdout.write(f"\n         → {frame['status']}", ending="")
        elif kind == "error_message":
            raise CommandError(f"{frame['message']} ({frame['detail']})")
        self.stdout.flush()
        return str(kind)

    def _steps(self, run_id: str) -> None:
        steps = self.http.get(f"/runs/{run_id}/steps", params={"order": "asc"}).raise_for_status().json()
        self._say("run", f"{run_id}, {len(steps)} step{'s' if len(steps) != 1 else ''}")
        for step in steps:
            tokens = f"{step['prompt_tokens']} tokens in, {step['completion_tokens']} out"
            self.stdout.write(f"           {step['id']}  {step['status']}  {step['model_handle']}  {tokens}")

    def _traces(self, runs: list[str]) -> None:
        for run_id in runs:
            for trace in self._wait_for_traces(run_id):
                cost = "unpriced" if trace.cost_usd is None else f"${as_text(trace.cost_usd)}"
                tokens = f"{trace.prompt_tokens} + {trace.completion_tokens} tokens"
                told = (
                    f"{tokens}, {trace.latency_ms} ms (first token {trace.ttft_ms} ms), {cost} [{trace.price_source}]"
                )
                self._say("ClickHouse", told)

    def _wait_for_traces(self, run_id: str) -> list[Any]:
        deadline = time.monotonic() + TRACE_WAIT_S
        while time.monotonic() < deadline:
            try:
                found = list(queries.traces_of_run(self.organization_id, run_id))
            except TelemetryUnavailable as error:
                raise CommandError(f"The trace cannot be read: {error.message}") from None
            if found:
                return found
            time.sleep(0.25)
        raise CommandError(f"No trace of {run_id} reached ClickHouse in {TRACE_WAIT_S} s. Does the shipper run?")

    def _say(self, title: str, text: str) -> None:
        self.stdout.write(f"  {title:<15}{text}")


def _frames(response: httpx.Response) -> Any:
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])
