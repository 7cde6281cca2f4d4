"""How `/v1` is served: without middleware, and its synchronous views on threads that stay.

Django would start a thread, open a database wrapper and send two signals through it for every request: 1.2 ms on the
2-core machine this was measured on, of the 5 ms that an agent's retrieval may take.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver

from core.http import AwaitedResponse


class ApiHandler(ASGIHandler):
    """`/v1` has keys instead of sessions, and pays for nothing it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="api")

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        get_response = "_get_response_async" if is_async else "_get_response"  # BaseHandler's own
        self._middleware_chain = convert_exception_to_response(getattr(self, get_response))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match = get_resolver().resolve(scope["path"])  # the API ends with a route that matches everything
        if iscoroutinefunction(match.func):
            await super().__call__(scope, receive, send)
        else:
            await self._answer(scope, receive, send, match)

    async def _answer(self, scope: Any, receive: Any, send: Any, match: ResolverMatch) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:  # the caller hung up while still sending
            return
        request, refusal = self.create_request(scope, body)
        if request is None:
            await self.send_response(cast(HttpResponseBase, refusal), send)
        else:
            request.resolver_match = match
            response = await asyncio.get_running_loop().run_in_executor(self._threads, _run, request)
            if isinstance(response, AwaitedResponse):
                await self._while_listening(self._send_awaited(response, send), receive)
            else:
                await self.send_response(response, send)
        body.close()

    async def _send_awaited(self, response: AwaitedResponse, send: Any) -> None:
        await self.send_response(await response.making(), send)

    async def _while_listening(self, answering: Coroutine[Any, Any, None], receive: Any) -> None:
        """Answer for as long as the caller is there: one who hangs up ends his own waiting and nothing else."""
        tasks = [asyncio.create_task(answering), asyncio.create_task(self.listen_for_disconnect(receive))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            with contextlib.suppress(RequestAborted):
                task.result()


def _run(request: HttpRequest) -> HttpResponseBase:
    match = request.resolver_match
    assert match is not None

    def view(request: HttpRequest) -> HttpResponseBase:
        return match.func(request, *match.args, **match.kwargs)

    try:
        return cast(HttpResponseBase, convert_exception_to_response(view)(request))
    finally:
        connections.close_all()  # back to the pool, before the answer is written
