"""A tool that was granted the network: it gets to the web, and to nothing that lies closer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agents.sandbox.base import Call, Limits
from agents.sandbox.configured import public_addresses
from agents.sandbox.local import LocalSandbox, Policy

OUTSIDE = "web.test"  # stands for a host in the internet
ASK = """
import socket, ssl, urllib.request

def tool(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.request.HTTPError as error:
        return [error.code, error.read().decode()]
    except OSError as error:
        return [0, str(error)]
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = f"{self.path} {self.headers['Host']} {self.headers['Proxy-Authorization']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    def reach(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == OUTSIDE else public_addresses(host, port)

    folder = tmp_path_factory.mktemp("sandbox")
    found = LocalSandbox(Policy(folder, Limits(wall_s=10), pool=1, reach=reach))
    yield found
    found.close()


def ask(sandbox: LocalSandbox, url: str, *, network: bool = True) -> list[object]:
    outcome = sandbox.run(Call(source=ASK, args={"url": url}, network=network))
    assert outcome.failure is None, outcome
    return list(outcome.value)


def test_a_granted_tool_reads_the_web_through_the_servers_proxy(sandbox: LocalSandbox, web: int) -> None:
    host = f"{OUTSIDE}:{web}"
    assert ask(sandbox, f"http://{host}/page?x=1") == [200, f"/page?x=1 {host} None"]
    assert ask(sandbox, f"http://{host}/", network=False)[0] == 0


def test_a_tunnel_leads_to_the_very_host_that_was_asked_for(sandbox: LocalSandbox, web: int) -> None:
    source = (
        "import socket\ndef tool(host, port):\n    link = socket.create_connection(('127.0.0.1', 3128), 5)\n"
        "    link.sendall(f'CONNECT {host}:{port} HTTP/1.1\\r\\n\\r\\n'.encode())\n    said = link.recv(99).decode()\n"
        "    link.sendall(b'GET /in HTTP/1.0\\r\\nHost: h\\r\\n\\r\\n')\n    return said + link.makefile().read()\n"
    )
    said = sandbox.run(Call(source=source, args={"host": OUTSIDE, "port": web}, network=True)).value
    assert said.startswith("HTTP/1.1 200 ")
    assert said.endswith("/in h None")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::1]/",
        "http://1.1.1.1:25/",
    ],
)
def test_what_lies_closer_than_the_internet_is_refused_and_the_tool_is_told(sandbox: LocalSandbox, url: str) -> None:
    status, said = ask(sandbox, url)
    assert status == 403
    assert "only public addresses" in str(said)


@pytest.mark.parametrize("address", ["('127.0.0.1', port)", "('1.1.1.1', 443)", "('169.254.169.254', 80)"])
def test_there_is_no_way_around_the_proxy(sandbox: LocalSandbox, web: int, address: str) -> None:
    source = f"import socket\ndef tool(port):\n    socket.create_connection({address}, 2)\n"
    failure = sandbox.run(Call(source=source, args={"port": web}, network=True)).failure
    assert failure is not None
    assert failure.kind == "exception"


def test_nonsense_harms_nobody(sandbox: LocalSandbox, web: int) -> None:
    source = (
        "import socket\ndef tool():\n    for text in (b'\\r\\n\\r\\n', b'GET / HTTP/1.1\\r\\n\\r\\n', b'x' * 99999, "
        "b'CONNECT a:b HTTP/1.1\\r\\n\\r\\n'):\n        link = socket.create_connection(('127.0.0.1', 3128), 5)\n"
        "        try:\n            link.sendall(text)\n            link.recv(999)\n        except OSError:\n"
        "            pass\n    kept = [socket.create_connection(('127.0.0.1', 3128), 5) for _ in range(40)]\n"
        "    return len(kept)\n"
    )
    assert sandbox.run(Call(source=source, network=True)).value == 40
    assert ask(sandbox, f"http://{OUTSIDE}:{web}/")[0] == 200
