"""Which model answers where the user named none: a local server that already runs, else a small model run here."""

import http.client
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from stack.children import Child, Program
from stack.errors import StackError
from stack.fetch import Model, Progress, catalogue, fetch, present
from stack.ports import LOOPBACK, free_port
from stack.redis_part import remembered_password

SERVER = str(Path(__file__).with_name("model_server.py"))
SCRIPTED = "scripted"
SCRIPTED_HANDLE = "scripted/demo"
# Where OpenAI-compatible servers of the machine's owner usually answer, and the setting that names each.
USUAL_SERVERS = (
    ("Ollama", 11434, "OLLAMA_BASE_URL"),
    ("LM Studio", 1234, "LMSTUDIO_BASE_URL"),
    ("llama.cpp", 8080, "LLAMACPP_BASE_URL"),
    ("vLLM", 8000, "VLLM_API_BASE"),
)
LOAD_SECONDS = 120


@dataclass(frozen=True)
class Choice:
    """`env`: what the web server and the worker must find in their environment to use it."""

    said: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wishes:
    """`wanted`: the user's MODEL. `provider`: a provider that the environment already gives, by name."""

    wanted: str = ""
    provider: str = ""


class LocalModel:
    """The model part of one data directory. Its files lie in `cache`, which several checkouts may share."""

    name = "the local model"

    def __init__(self, home: Path, cache: Path, logs: Path, report: Callable[[str], None], progress: Progress) -> None:
        self.home = home
        self.cache = cache
        self.log = logs / "model.log"
        self.report = report
        self.progress = progress
        self.child: Child | None = None

    def choose(self, wishes: Wishes, models: list[Model] | None = None) -> Choice:
        """Starts a model server here if that is the choice. Where none can run, `scripted` is left."""
        chat = [model for model in (models or catalogue()) if model.kind == "chat"]
        if wishes.wanted == SCRIPTED:
            return _scripted("asked for by MODEL=scripted")
        if "/" in wishes.wanted:
            return Choice(f"{wishes.wanted}, asked for by MODEL", {"DEFAULT_MODEL": wishes.wanted})
        named = [model for model in chat if model.name == wishes.wanted]
        if wishes.wanted and not named:
            known = ", ".join([SCRIPTED, *(model.name for model in chat)])
            raise StackError(f"MODEL={wishes.wanted} is not known. Known: {known}, or a handle like openai/gpt-5.2.")
        if not named and wishes.provider:
            return Choice(f"{wishes.provider}, whose settings are in the environment")
        if not named and (found := find_server()):
            return found
        return self._start_first(named or _fitting(chat))

    def fetch_embedding(self, wishes: Wishes) -> str:
        """The folder of the embedding model; "" (and a word about it) where it cannot be had."""
        model = next(model for model in catalogue() if model.kind == "embedding")
        folder = self.cache / model.name
        if importlib.util.find_spec("onnxruntime") is None:
            self.report("no embedding model: the wheel onnxruntime is not installed")
            return ""
        if wishes.wanted == SCRIPTED and not present(model, folder):
            return ""  # who asks for it wants no download
        try:
            self._fetch(model)
        except StackError as error:
            self.report(f"no embedding model: {error}")
            return ""
        return str(folder)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    def _start_first(self, models: list[Model]) -> Choice:
        if not models:
            return _scripted("too little memory is free for a model of its own")
        if missing := _cannot_run():
            return _scripted(missing)
        for model in models:
            try:
                self._fetch(model)
                return self._serve(model)
            except StackError as error:
                self.report(f"{model.title} is left out: {error}")
        return _scripted("no local model could be started")

    def _fetch(self, model: Model) -> None:
        folder = self.cache / model.name
        if not present(model, folder):
            self.report(f"fetching {model.title}, {model.megabytes} MB, licence {model.licence}")
            fetch(model, folder, self.progress)

    def _serve(self, model: Model) -> Choice:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_file = self.home / "key"
        key, port = remembered_password(key_file), free_port(self.home / "port")
        file = self.cache / model.name / model.files[0].name
        # All cores would be faster alone, and much slower beside a database and a worker.
        threads = max(1, (os.cpu_count() or 2) - 1)
        argv = [sys.executable, "-P", SERVER, str(file), model.name, str(port), str(key_file), str(threads)]
        self.child = Child(Program(self.name, argv, self.home / "pid", self.log, self.home))
        self.child.start()
        try:
            self.child.wait_until(lambda: listed(port, key) != [], LOAD_SECONDS)
        except StackError:
            self.child.stop()
            raise
        env = {
            "LOCAL_MODEL_URL": f"http://{LOOPBACK}:{port}/v1",
            "LOCAL_MODEL_KEY": key,
            "LOCAL_MODEL_NAME": model.name,
        }
        return Choice(f"{model.title}, run here. {model.note}", env)


def find_server(servers: Sequence[tuple[str, int, str]] = USUAL_SERVERS) -> Choice | None:
    """An OpenAI-compatible server with a model, on the ports where such servers usually listen."""
    with ThreadPoolExecutor(max_workers=len(servers)) as pool:
        answers = list(pool.map(lambda server: listed(server[1]), servers))
    for (title, port, setting), names in zip(servers, answers, strict=True):
        if names:
            return Choice(
                f"{title} on port {port} with {', '.join(names[:3])}", {setting: f"http://{LOOPBACK}:{port}/v1"}
            )
    return None


def listed(port: int, key: str = "") -> list[str]:
    """The models an OpenAI-compatible server lists; none where nobody, or somebody else, answers."""
    link = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        link.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"} if key else {})
        reply = link.getresponse()
        body = json.loads(reply.read()) if reply.status == 200 else {}
        entries = body.get("data") if isinstance(body, dict) else None
        return [str(entry["id"]) for entry in entries or [] if isinstance(entry, dict) and entry.get("id")]
    except (OSError, ValueError, http.client.HTTPException):
        return []
    finally:
        link.close()


def _scripted(reason: str) -> Choice:
    return Choice(f"the scripted provider ({reason}): its answers are canned", {"DEFAULT_MODEL": SCRIPTED_HANDLE})


def _fitting(models: list[Model]) -> list[Model]:
    free = _free_memory_mb()
    return [model for model in models if model.memory_mb <= free]


def _free_memory_mb() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4096


def _cannot_run() -> str:
    """The wheel's x86 build uses AVX2 throughout: without it the process would die of an illegal instruction."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "the wheel xllamacpp is not installed"
    try:
        cpu = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    if platform.machine() == "x86_64" and " avx2" not in cpu:
        return "this processor has no AVX2"
    return ""
