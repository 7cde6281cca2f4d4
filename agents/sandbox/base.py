"""What a sandbox is asked and what it answers; another back end is a `Sandbox` too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal[
    "exception",  # the tool raised, or its source does not compile
    "timeout",
    "crashed",  # its process ended without an answer
    "memory",  # all of its processes together took too much
    "output",  # it printed without end
    "bad_return",  # no JSON, or too much of it
    "requirements",  # they cannot be installed
    "unavailable",  # this machine cannot isolate it, or the sandbox cannot start
    "abandoned",  # nobody waited for it any more
]

Language = Literal["python", "typescript"]


@dataclass(frozen=True)
class Packages:
    """What is to be installed: of pip (`name`, `name==version`) or of npm (`name`, `name@version`), by the language."""

    language: Language = "python"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may use. Files are per process, as is processor time; memory is both per process, and in sum;
    `scratch_mb` is all that it can keep on disk."""

    wall_s: float = 60.0
    cpu_s: int = 30
    memory_mb: int = 512
    file_mb: int = 32
    scratch_mb: int = 64
    open_files: int = 128
    processes: int = 16
    output_chars: int = 20_000
    return_bytes: int = 4_000_000


@dataclass(frozen=True)
class Server:
    """Where this server's API is reached without TLS, and the key of one call."""

    host: str
    port: int
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Call:
    """Run `function` of `source` (its last one, where none is named). `requirements`: see `Packages`.

    `state`: what a parameter `agent_state` gets, an AgentState as the wire has it. `network`: it may reach public
    addresses by HTTP. `wall_s`: a limit of its own. `order`: of a TypeScript tool, its parameters in their order.

    `server`: the API that it may call, as LETTA_BASE_URL tells it. `client`: a Python tool gets it as a `client` of
    letta_client, which is among `requirements` then.
    """

    source: str
    function: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    state: Mapping[str, Any] | None = None
    network: bool = False
    wall_s: float | None = None
    language: Language = "python"
    order: tuple[str, ...] = ()
    server: Server | None = None
    client: bool = False

    @property
    def packages(self) -> Packages:
        return Packages(self.language, self.requirements)


@dataclass(frozen=True)
class Failure:
    """`message` and `traceback` are for the model."""

    kind: Kind
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`memory`: what the tool made of the blocks in `Call.state`, by label, where it changed them."""

    value: Any = None
    memory: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class Isolation:
    """What holds on this machine. `held`: each means by its name; `problem`: why it is not isolated, with the mend."""

    isolated: bool
    held: tuple[str, ...] = ()
    problem: str = ""
    mend: str = ""


class Sandbox(Protocol):
    def run(self, call: Call, abandoned: Callable[[], bool] = bool) -> Outcome:
        """Never raises for what the tool does. Once `abandoned` is true, the tool is ended soon."""
        ...

    def isolation(self) -> Isolation: ...

    def prepare(self, packages: Packages) -> str:
        """Install them before a call wants them: how it went, in a sentence."""
        ...

    def packages(self, packages: Packages) -> str:
        """How far they are, in a sentence."""
        ...
