"""`/v1` as the web server meets it: no middleware, synchronous views on threads that stay."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

seen: list[tuple[str, bool]] = []


def remembering(request: HttpRequest) -> HttpResponse:
    seen.append((threading.current_thread().name, connection.connection is None))
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse(request.body)


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("inside")


urlpatterns = [path("v1/remembering", remembering), path("v1/failing", failing)]


@pytest_asyncio.fixture
async def client(db: None) -> AsyncIterator[httpx.AsyncClient]:
    from config.api_handler import ApiHandler

    app: Any = ApiHandler()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as made:
        yield made


async def test_both_kinds_of_views_answer(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/health")).json()["status"] == "ok"
    assert (await client.get("/v1/openapi.json")).json()["info"]["title"] == "Perennial"


async def test_failures_look_the_same_as_everywhere(client: httpx.AsyncClient) -> None:
    refused = await client.get("/v1/agents/", headers={"Authorization": "Bearer pn_000000000000_x"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert (await client.get("/v1/nope")).json() == {"detail": "Not Found"}
    assert (await client.put("/v1/agents/")).json() == {"detail": "Method Not Allowed"}


@override_settings(ROOT_URLCONF=__name__)
async def test_a_thread_gives_its_connection_back_after_every_request(client: httpx.AsyncClient) -> None:
    seen.clear()
    for _ in range(20):
        assert (await client.post("/v1/remembering", content=b"body")).content == b"body"
    assert all(name.startswith("api") for name, _ in seen)
    assert [fresh for _, fresh in seen] == [True] * 20


@override_settings(ROOT_URLCONF=__name__, DEBUG_PROPAGATE_EXCEPTIONS=False)
async def test_a_view_that_fails_does_not_take_the_server_with_it(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/failing")).status_code == 500
    assert (await client.post("/v1/remembering", content=b"on")).content == b"on"
