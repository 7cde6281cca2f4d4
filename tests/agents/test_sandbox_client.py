"""A tool that was granted this server's API: it gets there by its client, with a key it never sees, and nowhere else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.sandbox.base import Call, Limits, Outcome, Server
from agents.sandbox.local import LocalSandbox, Policy
from agents.sandbox.own_server import CLIENT_PACKAGE, MAX_REQUESTS
from tests.support.client_package import installed

KEY = "pt_of-this-call"
RAW = """
import socket

def tool(text, port=8283):
    with socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(text.encode("latin-1"))
        return link.makefile("rb").read().decode("latin-1")
"""


class Seen(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "hang" in self.path:
            time.sleep(3)
        body = json.dumps({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}}).encode()
        size = int(self.headers.get("X-Size") or len(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body.ljust(size))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Seen) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield Server("127.0.0.1", serving.server_address[1], KEY)
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    installed(folder)
    found = LocalSandbox(Policy(folder, Limits(wall_s=20), pool=0))
    yield found
    found.close()


def call(server: Server, source: str, **args: Any) -> Call:
    return Call(source=source, args=args, server=server)


def raw(sandbox: LocalSandbox, server: Server, text: str) -> str:
    outcome = sandbox.run(call(server, RAW, text=text))
    assert outcome.failure is None, outcome
    return str(outcome.value)


@pytest.mark.parametrize("source", ["def tool(client):", "def tool(path=None):"])
def test_a_tool_calls_the_server_by_its_client(sandbox: LocalSandbox, server: Server, source: str) -> None:
    source += "\n    found = client.get('/v1/blocks/', cast_to=object)\n    return found, client.api_key\n"
    wanted = replace(call(server, source), client=True, requirements=(CLIENT_PACKAGE,))
    outcome: Outcome = sandbox.run(wanted)
    assert outcome.failure is None, outcome
    seen, key = outcome.value
    assert (seen["path"], seen["authorization"]) == ("/v1/blocks/", f"Bearer {KEY}")
    assert KEY not in str(key), "it is put in outside the walls"


def test_whatever_key_a_tool_sends_it_calls_with_that_of_its_call(sandbox: LocalSandbox, server: Server) -> None:
    head = "Authorization: Bearer pn_stolen\r\nHost: elsewhere\r\n"
    said = raw(sandbox, server, f"GET /v1/x?a=1 HTTP/1.1\r\n{head}Connection: keep-alive\r\n\r\n")
    assert f'"authorization": "Bearer {KEY}"' in said
    assert not any(word in said for word in ("stolen", "elsewhere", "keep-alive"))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /admin/ HTTP/1.1\r\n\r\n", 403),
        ("GET /v1/../admin/ HTTP/1.1\r\n\r\n", 403),
        ("GET /v1/%2E%2e/admin/ HTTP/1.1\r\n\r\n", 403),
        ("GET http://example.com/v1/ HTTP/1.1\r\n\r\n", 403),
        ("CONNECT example.com:443 HTTP/1.1\r\n\r\n", 403),
        ("GET /v1/x HTTP/1.0\r\n\r\n", 505),
        ("GET /v1/x HTTP/1.1\r\nConnection : keep-alive\r\n\r\n", 400),
        ("GET /v1/x HTTP/1.1\r\nA: b\nConnection: keep-alive\r\n\r\n", 400),
    ],
)
def test_nothing_else_of_it_is_in_reach(sandbox: LocalSandbox, server: Server, text: str, status: int) -> None:
    assert raw(sandbox, server, text).startswith(f"HTTP/1.1 {status} ")


def test_a_second_request_does_not_ride_on_the_first(sandbox: LocalSandbox, server: Server) -> None:
    said = raw(sandbox, server, "GET /v1/a HTTP/1.1\r\n\r\nGET /admin/ HTTP/1.1\r\nHost: h\r\n\r\n")
    assert said.count("HTTP/1.1 200") == 1
    assert "/admin/" not in said


def test_there_is_no_way_to_other_hosts_and_none_without_the_grant(sandbox: LocalSandbox, server: Server) -> None:
    straight = "import socket\ndef tool(port):\n    socket.create_connection(('127.0.0.1', port), 2)\n"
    for tried in (call(server, straight, port=server.port), Call(source=RAW, args={"text": ""})):
        failure = sandbox.run(tried).failure
        assert failure is not None
        assert failure.kind == "exception"


def test_a_server_that_hangs_does_not_hold_the_call(sandbox: LocalSandbox, server: Server) -> None:
    hanging = replace(call(server, RAW, text="GET /v1/hang HTTP/1.1\r\n\r\n"), wall_s=0.5)
    failure = sandbox.run(replace(hanging, source=RAW.replace(", 5)", ", 60)"))).failure
    assert failure is not None
    assert failure.kind == "timeout"


def test_requests_and_what_they_carry_are_bounded(sandbox: LocalSandbox, server: Server) -> None:
    source = (
        "import socket\ndef ask(size):\n    with socket.create_connection(('127.0.0.1', 8283), 20) as link:\n"
        "        link.sendall(f'GET /v1/x HTTP/1.1\\r\\nX-Size: {size}\\r\\n\\r\\n'.encode())\n        got = 0\n"
        "        first = data = link.recv(1 << 16)\n        while data:\n            got += len(data)\n"
        "            data = link.recv(1 << 16)\n    return first[:12].decode(), got\n"
        "def tool(size, times):\n    return [ask(size) for _ in range(times)][-1]\n"
    )
    status, got = sandbox.run(call(server, source, size=100 << 20, times=1)).value
    assert status == "HTTP/1.1 200"
    assert got < 80 << 20
    assert sandbox.run(call(server, source, size=300, times=MAX_REQUESTS)).value[0] == "HTTP/1.1 200"
    assert sandbox.run(call(server, source, size=300, times=MAX_REQUESTS + 1)).value[0] == "HTTP/1.1 403"


def test_node_finds_it_by_the_variables(sandbox: LocalSandbox, server: Server) -> None:
    source = "export async function tool() {\n  const at = process.env.LETTA_BASE_URL;\n"
    source += "  return (await (await fetch(`${at}/v1/agents/`)).json()).authorization;\n}\n"
    outcome = sandbox.run(Call(source=source, language="typescript", server=server, network=True))
    assert outcome.value == f"Bearer {KEY}", outcome
