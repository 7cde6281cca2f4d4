"""The web server: HTTP, SSE and websockets in one process."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from core.threads import favour_latency

GRACE_SECONDS = 5  # open streams get this long when the server is told to stop
KEEP_ALIVE_SECONDS = 75  # longer than clients and proxies keep an idle connection, so that they close it first
PING_SECONDS = 25  # a websocket's client that does not answer for so long is gone


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--server", choices=["uvicorn", "daphne"], default=settings.WEB_SERVER)
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--access-log", action="store_true", help="one line a request")

    def handle(self, *args: Any, **options: Any) -> None:
        favour_latency()
        run = _daphne if options["server"] == "daphne" else _uvicorn
        run(options["host"], options["port"], options["access_log"])


def _uvicorn(host: str, port: int, access_log: bool) -> None:
    import uvicorn

    from config.asgi import application

    uvicorn.run(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,  # frames are small: packing each costs more than it saves
        lifespan="off",
        log_config=None,
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


def _daphne(host: str, port: int, access_log: bool) -> None:
    from daphne.cli import CommandLineInterface

    options = ["-b", host, "-p", str(port), "-v", "1" if access_log else "0", "--no-server-name"]
    options += ["--ping-interval", str(PING_SECONDS), "--ping-timeout", str(2 * PING_SECONDS)]
    options += ["--access-log", "-"] if access_log else []
    CommandLineInterface().run([*options, "config.asgi:application"])
