"""A registry of npm on the loopback: what is published to it, and what it was asked for."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Registry:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""
        self._answers: dict[str, bytes] = {}

    def publish(self, name: str, files: Mapping[str, str], **manifest: Any) -> None:
        """Version 1.0.0 of it."""
        said = {"name": name, "version": "1.0.0", "type": "module", **manifest}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in {"package.json": json.dumps(said), **files}.items():
                entry = tarfile.TarInfo(f"package/{path}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        place = f"/{name}/-/{name.rsplit('/', maxsplit=1)[-1]}-1.0.0.tgz"
        version = {**said, "dist": {"tarball": self.url + place}}
        shown = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        self._answers |= {place: packed.getvalue(), f"/{name}": json.dumps(shown).encode()}

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        return self._answers.get(path)


@contextmanager
def serving() -> Iterator[Registry]:
    registry = Registry()

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = registry.answer(unquote(self.path))
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(found or b"{}")))
            self.end_headers()
            self.wfile.write(found or b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        registry.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
