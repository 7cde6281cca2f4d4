"""An MCP server that is a command on this machine: lines of JSON over its standard input and output.

The SDK's own transport would keep a line of any length in memory and write the command's complaints into our log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from agents.mcp.http import MAX_BYTES, Wire

GRACE_S = 1.0
_COMPLAINTS = 2_000


@asynccontextmanager
async def run_command(command: str, args: tuple[str, ...], env: Mapping[str, str], wire: Wire) -> AsyncIterator[Any]:
    """The SDK's pair of streams. Raises OSError. The command gets the variables it is given, PATH and HOME, no other
    of ours; its whole process group ends with the connection."""
    process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own needs a child watcher, which not every loop has
        [command, *args],
        env={**get_default_environment(), **env},
        cwd=tempfile.gettempdir(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with _pipes(process) as pipes, anyio.create_task_group() as tasks:
            to_session, from_server = anyio.create_memory_object_stream[Any](0)
            to_server, from_session = anyio.create_memory_object_stream[Any](0)
            async with to_session, from_server, to_server, from_session:
                tasks.start_soon(_read, pipes, to_session, wire)
                tasks.start_soon(_write, pipes, from_session)
                yield from_server, to_server
                tasks.cancel_scope.cancel()
    finally:
        await _end(process)


class _Pipes:
    def __init__(self, output: asyncio.StreamReader, complaints: asyncio.StreamReader, given: Any) -> None:
        self.output, self.complaints, self.given = output, complaints, given


@asynccontextmanager
async def _pipes(process: subprocess.Popen[bytes]) -> AsyncIterator[_Pipes]:
    loop = asyncio.get_running_loop()
    readers, transports = [], []
    for pipe in (process.stdout, process.stderr):
        reader = asyncio.StreamReader(limit=MAX_BYTES)
        transport, _ = await loop.connect_read_pipe(lambda reader=reader: asyncio.StreamReaderProtocol(reader), pipe)  # type: ignore[misc]
        readers.append(reader)
        transports.append(transport)
    writing, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, process.stdin)
    given = asyncio.StreamWriter(writing, flow, None, loop)
    try:
        yield _Pipes(readers[0], readers[1], given)
    finally:
        writing.close()
        for transport in transports:
            transport.close()


async def _read(pipes: _Pipes, to_session: Any, wire: Wire) -> None:
    """Messages to the session, until the command ends its output: then the session sees its stream end."""
    complaints = asyncio.create_task(_last_words(pipes.complaints))
    try:
        async with to_session:
            while line := await _line(pipes.output, wire):
                wire.count(len(line))
                try:
                    message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError:
                    wire.problem = wire.problem or "it writes what is no message of MCP to its standard output"
                    continue
                await to_session.send(message)
            with contextlib.suppress(TimeoutError):
                said = await asyncio.wait_for(asyncio.shield(complaints), GRACE_S)
                wire.problem = f"its command ended{': ' + said if said else ''}"
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the session is gone
    except RuntimeError:
        return  # too much was sent: the wire knows
    finally:
        complaints.cancel()


async def _line(output: asyncio.StreamReader, wire: Wire) -> bytes:
    try:
        return await output.readline()
    except ValueError:  # longer than the reader's limit
        raise wire.refuse(f"it sent a line of more than {MAX_BYTES // 1_000_000} MB") from None


async def _last_words(complaints: asyncio.StreamReader) -> str:
    """The end of what it wrote to its standard error, read so that it never waits for us."""
    kept = b""
    while chunk := await complaints.read(65_536):
        kept = (kept + chunk)[-_COMPLAINTS:]
    return " ".join(kept.decode("utf-8", "replace").split())[-300:]


async def _write(pipes: _Pipes, from_session: Any) -> None:
    async with from_session:
        async for sent in from_session:
            pipes.given.write(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            try:
                await pipes.given.drain()
            except ConnectionError:
                return  # the command is gone: its output ends, too


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Its input is closed; who does not go by itself is killed, with all it started."""
    with anyio.CancelScope(shield=True):
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                pipe.close() if pipe else None
        until = asyncio.get_running_loop().time() + GRACE_S
        while process.poll() is None and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - a process, not a task
            await asyncio.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(GRACE_S)
