"""One guest process, as the server holds it: started, asked once, ended."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.sandbox.base import Call, Failure, Limits, Outcome
from agents.sandbox.egress import Egress, Reach
from agents.sandbox.memory import held
from agents.sandbox.own_server import OwnServer
from agents.sandbox.relay import Relay

PROJECT = str(Path(__file__).resolve().parents[2])
PACKAGES = "/packages"  # where a tool sees what was installed for it
NODE_PACKAGES = "/node_modules"  # the last place where Node looks, from wherever a tool lies
CERTIFICATES = "/etc/ssl/certs"
START_S = 20.0
END_S = 5.0
LOOK_S = 0.25  # how often a tool's end is looked for that does not come from itself
FLOOD = 50  # times `output_chars`: who prints more than that is ended
_BOOT = f"import sys; sys.path.insert(0, {PROJECT!r}); from agents.sandbox.guest import main; main()"


class NotStarted(Exception):
    """The guest could not build its walls; the message says which."""


@dataclass(frozen=True)
class Setup:
    """How guests are confined. `root`: an empty folder of the server's, or the working folder of an unisolated one.
    `site`: its packages. `server`, `client`: as in `Call`. `node`: the program that a TypeScript tool runs in; empty:
    it is Python."""

    limits: Limits
    root: str
    isolated: bool = True
    site: str = ""
    network: bool = False
    server: bool = False
    client: bool = False
    node: str = ""

    def to_json(self, descriptors: Mapping[str, int]) -> bytes:
        python = os.path.realpath(sys.base_prefix)
        folders = {python: python}
        if self.site:
            folders |= {f"{self.site}{NODE_PACKAGES}": NODE_PACKAGES} if self.node else {self.site: PACKAGES}
        folders |= {CERTIFICATES: CERTIFICATES} if self.network else {}
        folders |= {os.path.dirname(self.node): os.path.dirname(self.node)} if self.node else {}
        site = PACKAGES if self.site and self.isolated else self.site
        site = "" if self.node else site
        own = {"folders": folders, "site": site, "project": PROJECT, **descriptors}
        return json.dumps({**asdict(self), **own}).encode() + b"\n"


class Guest:
    """Made in any thread. `ready` waits for the walls; `ask` may be used once; `end` always ends it."""

    def __init__(self, setup: Setup, reach: Reach) -> None:
        self.setup = setup
        self._reach = reach
        self._relays: list[Relay] = []
        self._api: socket.socket | None = None  # on which the tool asks for this server's own
        request, self._request = os.pipe()
        self._result, result = os.pipe()
        self._link, far = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [os.path.realpath(sys.executable), "-I", "-S", "-c", _BOOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(request, result, far.fileno()),
                env={},
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            os.close(self._request)
            os.close(self._result)
            self._link.close()
            raise
        finally:
            os.close(request)
            os.close(result)
            descriptors = {"request_fd": request, "result_fd": result, "link_fd": far.fileno()}
            far.close()
        self._ended = False
        self._write(self._pipe(0), setup.to_json(descriptors))

    def ready(self) -> None:
        """Raises NotStarted."""
        said = _Reader(self, START_S).line(keep_rest=True)
        if said is None or not said.get("ready"):
            self.end()
            raise NotStarted(str((said or {}).get("unavailable", "the process did not start")))
        if self.setup.network or self.setup.server:
            _, passed, _, _ = socket.recv_fds(self._link, 1, 2)
            listeners = [socket.socket(fileno=number) for number in passed]
            if self.setup.server:
                self._api = listeners.pop()
            self._relays += [Egress(listener, self._reach) for listener in listeners]

    def ask(self, call: Call, abandoned: Callable[[], bool] = bool) -> Outcome:
        own = {name: getattr(call, name) for name in ("source", "function", "state", "order", "client")}
        asked = {**own, "args": dict(call.args), "variables": dict(call.variables)}
        if self._api is not None and call.server is not None:
            self._relays.append(OwnServer(self._api, call.server))
            self._api = None
        self._write(self._request, json.dumps(asked).encode())
        self._close_request()
        limits = self.setup.limits
        reader = _Reader(self, call.wall_s or limits.wall_s, abandoned)
        with held(self._process.pid, limits.memory_mb) as memory:
            said = reader.line()
        code = self.end()
        failure = reader.failure or (_died(code, limits) if said is None else _failure(said))
        if said is None and memory.exceeded:
            failure = Failure("memory", f"it took more than {limits.memory_mb} MB of memory in all and was ended")
        given = said if said is not None and failure is None else {}
        return Outcome(
            value=given.get("value"),
            memory=memory_told(call, given.get("memory")),
            failure=failure,
            stdout=_text(reader.out, limits.output_chars),
            stderr=_text(reader.err, limits.output_chars),
        )

    def end(self) -> int:
        """Its exit code; with it ends all that it has started."""
        if self._ended:
            return self._process.returncode
        self._ended = True
        self._close_request()
        for number in range(3):
            self._stream(number).close()
        os.close(self._result)
        self._link.close()
        if self._api is not None:
            self._api.close()
        for relay in self._relays:
            relay.close()
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def alive(self) -> bool:
        return self._process.poll() is None

    def descriptors(self) -> tuple[int, int, int]:
        return self._result, self._pipe(1), self._pipe(2)

    def _stream(self, number: int) -> Any:
        return (self._process.stdin, self._process.stdout, self._process.stderr)[number]

    def _pipe(self, number: int) -> int:
        return int(self._stream(number).fileno())

    def _close_request(self) -> None:
        if self._request >= 0:
            os.close(self._request)
            self._request = -1

    @staticmethod
    def _write(descriptor: int, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except BrokenPipeError:
            pass  # it has died: reading its answer tells


class _Reader:
    """Reads the result and what the tool prints, side by side, until the result is whole or no more can come."""

    def __init__(self, guest: Guest, seconds: float, abandoned: Callable[[], bool] = bool) -> None:
        self._abandoned = abandoned
        self._limits = guest.setup.limits
        self._result, self._stdout, self._stderr = guest.descriptors()
        self._until, self._seconds = time.monotonic() + seconds, seconds
        self._kept = {self._result: bytearray(), self._stdout: bytearray(), self._stderr: bytearray()}
        self._seen = 0
        self.failure: Failure | None = None

    @property
    def out(self) -> bytearray:
        return self._kept[self._stdout]

    @property
    def err(self) -> bytearray:
        return self._kept[self._stderr]

    def line(self, *, keep_rest: bool = False) -> dict[str, Any] | None:
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._result,) if keep_rest else self._kept:
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            while self._result in selector.get_map() and self.failure is None:
                left = self._until - time.monotonic()
                if left <= 0:
                    self.failure = Failure("timeout", f"it took more than {self._seconds:g} s and was ended")
                elif self._abandoned():
                    self.failure = Failure("abandoned", "it was given up, because nobody waits for it any more")
                for key, _ in selector.select(min(left, LOOK_S)) if self.failure is None else ():
                    if not self._read(int(key.fileobj)):  # type: ignore[arg-type]  # descriptors are what we register
                        selector.unregister(key.fileobj)
                if self._kept[self._result].endswith(b"\n"):
                    break
            if not keep_rest:
                self._drain()
        return self._parsed()

    def _read(self, descriptor: int) -> bool:
        """False at the end of it."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return True
        if descriptor == self._result:
            self._kept[descriptor] += data
            if len(self._kept[descriptor]) > 2 * self._limits.return_bytes + 65536:
                self.failure = Failure("bad_return", "the answer is too long")
            return bool(data)
        self._seen += len(data)
        room = 4 * self._limits.output_chars - len(self._kept[descriptor])
        self._kept[descriptor] += data[: max(room, 0)]
        if self._seen > FLOOD * self._limits.output_chars:
            self.failure = Failure("output", f"it printed more than {FLOOD * self._limits.output_chars} bytes")
        return bool(data)

    def _drain(self) -> None:
        """What was printed before the answer lies in the pipes already."""
        for descriptor in (self._stdout, self._stderr):
            while self.failure is None:
                before = self._seen
                if not self._read(descriptor) or self._seen == before:
                    break

    def _parsed(self) -> dict[str, Any] | None:
        """None for what is no answer: a tool can write into the pipe itself, and harms its own result alone."""
        try:
            said = json.loads(bytes(self._kept[self._result]))
        except (ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None


def memory_told(call: Call, said: Any) -> dict[str, str]:
    """Of what a tool says, that which is about blocks it was shown; anything could have been written into the pipe."""
    if call.state is None or not isinstance(said, dict):
        return {}
    labels = {block["label"] for block in call.state["memory"]["blocks"]}
    return {label: value for label, value in said.items() if label in labels and isinstance(value, str)}


def _failure(said: dict[str, Any]) -> Failure | None:
    found = said.get("failure")
    if found is None:
        return None
    if not isinstance(found, dict) or found.get("kind") not in ("exception", "bad_return"):
        return Failure("crashed", "its process gave no answer")
    return Failure(found["kind"], str(found.get("message"))[:4000], str(found.get("traceback") or "")[:4000])


def _died(code: int, limits: Limits) -> Failure:
    if code == 128 + 24:
        return Failure("timeout", f"it used more than {limits.cpu_s} s of processor time and was ended")
    how = f"by signal {code - 128}" if code > 128 else f"with exit code {code}"
    return Failure("crashed", f"its process ended {how}, without an answer")


def _text(data: bytearray, most: int) -> str:
    text = data.decode("utf-8", "replace").replace("\x00", "\ufffd")
    return text if len(text) <= most else f"{text[:most]}… [cut off here]"
