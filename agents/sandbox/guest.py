"""The process that a tool gets: it builds its walls, says that it is ready, waits for one call, and ends.

Two processes: the outer one holds nothing but the inner one's life, and ends it when standard input ends; the inner one
is the first of its process namespace, so that with it everything dies that it has started.
"""

from __future__ import annotations

import importlib
import io
import json
import linecache
import os
import select
import signal
import site
import sys
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agents.sandbox import confine
from agents.sandbox.agent_state import AgentState

FILE = "<tool>"
TRACEBACK_CHARS = 2000
WARM = ("collections", "datetime", "math", "re", "typing")  # what most tools want and is cheap


def main() -> None:
    """Standard input: one line of JSON that says how to confine; then nothing, until it ends."""
    setup = json.loads(_read_line(0))
    request, result = setup["request_fd"], setup["result_fd"]
    try:
        if setup["isolated"]:
            confine.unshare()
        inner = os.fork()
        if not inner:
            _inner(setup, request, result)
    except OSError as error:
        _say(result, {"unavailable": str(error)})
        os._exit(1)
    for descriptor in (request, result, setup["link_fd"], 1, 2):
        os.close(descriptor)
    os._exit(_wait(inner, setup["limits"]["cpu_s"]))


def _inner(setup: dict[str, Any], request: int, result: int) -> None:
    os.setsid()
    try:
        script = _read_script() if setup["node"] else ""
        _enter(setup)
        if setup["node"]:
            _become_node(setup, script, (request, result))
    except OSError as error:
        _say(result, {"unavailable": str(error)})
        os._exit(1)
    _say(result, {"ready": True})
    _say(result, _answer(_read_all(request), setup))
    os._exit(0)


def _enter(setup: dict[str, Any]) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for name in WARM:
        importlib.import_module(name)
    setup["proxy"] = {}
    if setup["network"] or setup["server"]:  # late: it would slow down those that have neither
        loopback = importlib.import_module("agents.sandbox.loopback")
        wanted = ((loopback.PROXY, setup["network"]), (loopback.SERVER, setup["server"]))
        ports = [port for port, granted in wanted if granted]
        loopback.hand_over(setup["link_fd"], ports)
        setup["proxy"] = loopback.variables(ports)
    else:
        os.close(setup["link_fd"])
    if setup["isolated"]:
        confine.build_root(setup["root"], setup["folders"], setup["limits"]["scratch_mb"])
    else:
        os.chdir(setup["root"])
    sys.path[:] = [path for path in sys.path if path != setup["project"]]
    confine.limit(setup["limits"], isolated=setup["isolated"], node=bool(setup["node"]))
    confine.give_up_rights(isolated=setup["isolated"])
    if setup["site"]:
        site.addsitedir(setup["site"])  # last: a package may run code here
    if setup["client"]:
        with suppress(Exception):  # packages of the tool's own may be in its way: told where it is called
            setup["made"] = _client(setup)


def _client(setup: dict[str, Any]) -> Any:
    """Made before there is a call, since it takes a second."""
    proxy = setup["proxy"]
    client = importlib.import_module("letta_client").Letta(
        base_url=proxy["LETTA_BASE_URL"], api_key=proxy["LETTA_API_KEY"]
    )
    _ = client.agents  # made when it is first asked for, from a hundred modules
    return client


def _read_script() -> str:
    with open(os.path.join(os.path.dirname(__file__), "runner.mjs"), encoding="utf-8") as file:
        return file.read()


def _become_node(setup: dict[str, Any], script: str, descriptors: tuple[int, int]) -> None:
    """Behind the same walls, another program. Raises OSError."""
    most = setup["limits"]["return_bytes"]
    heap = f"--max-old-space-size={setup['limits']['memory_mb'] // 2}"
    flags = [heap, "--v8-pool-size=1", "--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script]
    arguments = [str(number) for number in (*descriptors, most)]
    os.execve(setup["node"], [setup["node"], *flags, *arguments], _environment() | setup["proxy"])  # noqa: S606


def _environment() -> dict[str, str]:
    return {"HOME": os.getcwd(), "TMPDIR": os.getcwd(), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def _wait(inner: int, cpu_s: int) -> int:
    """Until the inner process ends, or the server ends it or itself. The exit code tells how it ended."""
    watched = os.pidfd_open(inner)
    readable, _, _ = select.select([watched, 0], [], [])
    if watched not in readable:
        os.kill(inner, signal.SIGKILL)
        with suppress(OSError):  # it has not made its group yet
            os.killpg(inner, signal.SIGKILL)
    _, status, used = os.wait4(inner, 0)
    if os.WIFSIGNALED(status) and used.ru_utime + used.ru_stime > 0.5 * cpu_s:
        # The first process of a namespace gets no SIGXCPU, it is killed at once. The limit counts by ticks, which on a
        # busy machine come to more than what was used.
        return 128 + signal.SIGXCPU
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _answer(request: bytes, setup: dict[str, Any]) -> dict[str, Any]:
    if not request:
        os._exit(0)  # nobody needs this one any more
    call = json.loads(request)
    try:
        os.environ.clear()
        os.environ.update(_environment() | setup["proxy"])
        os.environ.update(call["variables"])
        state = AgentState(call["state"]) if call["state"] else None
        given = {"agent_state": state, "agent_id": os.environ.get("LETTA_AGENT_ID")}
        if call["client"]:
            given["client"] = setup.get("made") or _client(setup)
        value = _call(call, given)
    except BaseException as error:  # whatever a tool raises, SystemExit included, is told to the model
        return {"failure": {"kind": "exception", "message": _short(error), "traceback": _traceback(error)}}
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the tool may have closed it or put anything in its place
                stream.flush()
    return _encoded(value, state, setup["limits"]["return_bytes"])


def _call(call: dict[str, Any], given: dict[str, Any]) -> Any:
    source = call["source"]
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    module = types.ModuleType("tool")
    sys.modules["tool"] = module
    if "client" in given:
        module.__dict__["client"] = given["client"]
    exec(compile(source, FILE, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 -- it is what this is for
    function = _function(module, call["function"])
    value = function(**_injected(function, given), **call["args"])
    if isinstance(value, types.CoroutineType):
        return importlib.import_module("asyncio").run(value)  # late: it would double what starting a guest costs
    return value


def _injected(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """What a tool gets unasked, where it has a parameter for it."""
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
    return {name: value for name, value in given.items() if name in names and value is not None}


def _function(module: types.ModuleType, name: str | None) -> Callable[..., Any]:
    own = [f for f in vars(module).values() if isinstance(f, types.FunctionType) and f.__code__.co_filename == FILE]
    if name is None and own:
        return own[-1]
    found = vars(module).get(name or "")
    if not callable(found):
        names = ", ".join(f.__name__ for f in own) or "none"
        raise NameError(f"the source defines no function {name or ''!r}; it has: {names}")
    return found


def _encoded(value: Any, state: AgentState | None, most: int) -> dict[str, Any]:
    try:
        text = json.dumps(value, default=_plain, allow_nan=False)
        memory = json.dumps(state.memory.changes() if state else {})
    except BaseException as error:  # the value's own methods ran: anything can come of it
        return _bad(f"the return value cannot be written as JSON: {_short(error)}")
    if len(text) > most:
        return _bad(f"the return value has {len(text)} bytes of JSON; at most {most} are taken")
    if len(memory) > most:
        return _bad(f"the changed memory has {len(memory)} bytes of JSON; at most {most} are taken")
    return {"value": json.loads(text), "memory": json.loads(memory)}


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    for name in ("model_dump", "_asdict", "isoformat"):
        if callable(getattr(value, name, None)):
            return getattr(value, name)()
    return dict(vars(value)) if hasattr(value, "__dataclass_fields__") else str(value)


def _bad(message: str) -> dict[str, Any]:
    return {"failure": {"kind": "bad_return", "message": message, "traceback": ""}}


def _short(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:TRACEBACK_CHARS]
    except Exception:  # an error whose text raises
        return type(error).__name__


def _traceback(error: BaseException) -> str:
    """The tool's own frames; the end of it, where it is long."""
    try:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        lines = traceback.format_list(frames) + traceback.format_exception_only(error)
        return "".join(lines)[-TRACEBACK_CHARS:]
    except BaseException:  # a traceback that takes more memory than is left: the message alone is told
        return ""


def _say(descriptor: int, message: dict[str, Any]) -> None:
    data = io.BytesIO(json.dumps(message).encode() + b"\n")
    while chunk := data.read(65536):
        while chunk:
            chunk = chunk[os.write(descriptor, chunk) :]


def _read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        got = os.read(descriptor, 1)
        if not got:
            break
        line += got
    return line


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)
