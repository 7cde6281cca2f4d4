"""HTTP answers that a view can name but not make: they have to be waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.http import HttpResponse
from django.http.response import HttpResponseBase


class AwaitedResponse(HttpResponse):
    """What a view has queried and written is done; `making` waits for the rest, and holds no thread meanwhile.

    `config.api_handler` awaits it after the view's thread and database connection are free.
    """

    def __init__(self, making: Callable[[], Awaitable[HttpResponseBase]]) -> None:
        super().__init__()
        self.making = making
