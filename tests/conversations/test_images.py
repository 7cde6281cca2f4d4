"""Images that are sent as an address: fetched once, from where it is safe, and kept inline."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from conversations import images
from conversations.models import Message
from core import network
from core.errors import BadInput
from tests.providers.fake_server import FakeServer, Reply
from tests.support.api import Tenant
from tests.support.turns import thinker, traces, turn

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
KINDS = {"image/jpeg": b"\xff\xd8\xff\xe0", "image/gif": b"GIF89a", "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 "}


@pytest.fixture
def site(settings: Any) -> Iterator[FakeServer]:
    """A server that the setting lets images come from."""
    settings.FETCH_PRIVATE_ADDRESSES = True
    server = FakeServer()
    yield server
    server.close()


def fetched(*urls: str) -> list[dict[str, Any]]:
    [row] = images.loaded([{"content": [images.linked(url) for url in urls]}])
    return list(row["content"])


def why(url: str) -> str:
    with pytest.raises(BadInput) as refused:
        fetched(url)
    return refused.value.message


@pytest.mark.usefixtures("redis")
def test_the_model_and_the_message_get_what_stood_there(tenant: Tenant, site: FakeServer) -> None:
    site.stream(PNG)
    conversation = thinker(tenant)
    content = [
        {"type": "text", "text": "See [[say A dot]]"},
        {"type": "image", "source": {"type": "url", "url": f"{site.url}/dot"}},
    ]
    run = turn(tenant, conversation, [{"role": "user", "content": content}])
    kept = Message.objects.get(conversation=conversation, role="user").content[1]
    assert (kept["type"], kept["media_type"], base64.b64decode(kept["data"])) == ("image", "image/png", PNG)
    [trace] = traces(run)
    assert kept["data"] in orjson.dumps(orjson.loads(trace["request"])).decode()
    assert (site.paths, site.headers[0]["accept"]) == (["/dot"], "image/*")


@pytest.mark.parametrize("media_type", KINDS)
def test_an_image_is_known_by_its_first_bytes(site: FakeServer, media_type: str) -> None:
    site.stream(KINDS[media_type] + b"rest")
    assert fetched(site.url)[0]["media_type"] == media_type


def test_what_is_no_image_is_refused(site: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    site.replies = [
        Reply(stream=b"<html>", headers={}),
        Reply({"detail": "gone"}, 404),
        Reply(stream=PNG, headers={"Content-Encoding": "gzip"}),
        Reply(stream=PNG + b"x" * 100),
    ]
    assert "none of the types" in why(site.url)
    assert "127.0.0.1 answered 404" in why(site.url)
    assert "compressed" in why(site.url)
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    assert "more than 100 bytes" in why(site.url)


@pytest.mark.parametrize("url", ["ftp://x.test/a.png", "https://user:pass@x.test/a.png", "https:///a.png", "a.png"])
def test_an_address_of_another_kind_is_refused_without_being_told(url: str) -> None:
    assert "URL" in why(url)
    assert "pass" not in why(url).replace("password", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.7", "localhost"])
def test_our_own_network_is_out_of_reach(host: str) -> None:
    assert "private network" in why(f"http://{host}:9/a.png")


def test_a_redirect_into_our_own_network_is_not_followed(site: FakeServer, settings: Any, lonely: None) -> None:
    settings.FETCH_PRIVATE_ADDRESSES = False
    inner = site.url.replace("127.0.0.1", "127.0.0.2")
    site.replies = [Reply({}, 302, headers={"Location": "/other"}), Reply(stream=PNG)]
    assert fetched(f"{site.url}/one")[0]["media_type"] == "image/png"
    site.replies = [Reply({}, 302, headers={"Location": f"{inner}/secret"}), Reply(stream=PNG)]
    assert "private network" in why(f"{site.url}/two")
    assert site.paths == ["/one", "/other", "/two"]
    site.replies = [Reply({}, 302, headers={"Location": "/again"})]
    assert "again and again" in why(f"{site.url}/again")


@pytest.fixture
def lonely(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 127.0.0.1 alone lay in the internet."""
    monkeypatch.setattr(network, "is_public", lambda address: address == ipaddress.ip_address("127.0.0.1"))


def test_a_name_that_leads_elsewhere_a_moment_later_gains_nothing(
    site: FakeServer, settings: Any, lonely: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FETCH_PRIVATE_ADDRESSES = False
    answers = iter(["127.0.0.1", "127.0.0.2"])
    monkeypatch.setattr(network, "addresses_of", lambda host, port: [ipaddress.ip_address(next(answers))])
    site.stream(PNG)
    url = site.url.replace("127.0.0.1", "changing.test")
    assert fetched(url)[0]["media_type"] == "image/png"
    assert site.headers[0]["host"].startswith("changing.test")
    assert "private network" in why(url)


def test_all_of_them_together_have_a_size(site: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_IN_ALL", 2 * len(PNG) + 1)
    site.stream(PNG)
    assert len(fetched(site.url, site.url)) == 2
    with pytest.raises(BadInput, match="more than 1 bytes"):
        fetched(site.url, site.url, site.url)


def test_all_of_them_together_have_their_time(site: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "FETCH_S", 0.0)
    assert "within" in why(site.url)
    assert site.paths == []
