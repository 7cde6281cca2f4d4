"""A mock vendor of the shared tools, started once, and small makers of requests."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.clients.base import close_all
from tests.providers.fake_server import FakeServer
from tests.support.vendor import NEW, OLD, Vendor, running_vendor

MOCK = Path(__file__).resolve().parents[3] / "shared" / "tools" / "mock_llm.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def vendor_url() -> Iterator[str]:
    """`http://127.0.0.1:<port>` of a running mock vendor that records what it is sent."""
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [sys.executable, str(MOCK), "--port", url.rsplit(":", 1)[1], "--record", "500"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        close_all()
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def vendor(db: None) -> Iterator[Vendor]:
    """One that takes an old key and a new one; nothing is remembered of others."""
    from providers import entries, listing, use

    entries.forget_all()
    listing._listings.clear()
    use.forget_touches()
    with running_vendor() as found:
        found.keys = {OLD: 200, NEW: 200}
        yield found
        close_all()
