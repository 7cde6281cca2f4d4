"""Which model `make up` takes, and that there is always one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.fetch import Model, ModelFile
from stack.model import LocalModel, Wishes, find_server
from stack.ports import free_port

BROKEN = b"this is no model"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalModel]:
    said: list[str] = []
    part = LocalModel(tmp_path / "model", tmp_path / "cache", tmp_path, said.append, lambda *told: None)
    part.said = said  # type: ignore[attr-defined]
    yield part
    part.stop()


def broken_model(cache: Path) -> Model:
    """A file that is what it claims to be, and that llama.cpp cannot load."""
    import hashlib

    folder = cache / "broken"
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(BROKEN)
    file = ModelFile("model.gguf", hashlib.sha256(BROKEN).hexdigest(), 1, "", "nothing-there", 1, "*")
    return Model("broken", "chat", "Broken", "Apache-2.0", 1, "", (file,))


def test_the_user_may_ask_for_the_scripted_provider(local: LocalModel) -> None:
    choice = local.choose(Wishes("scripted", provider="openai"))
    assert "scripted" in choice.said
    assert choice.env == {"DEFAULT_MODEL": "scripted/demo"}
    assert local.fetch_embedding(Wishes("scripted")) == ""
    assert not local.cache.exists()


def test_a_handle_becomes_the_default_model(local: LocalModel) -> None:
    assert local.choose(Wishes("openai/gpt-5.2")).env == {"DEFAULT_MODEL": "openai/gpt-5.2"}


def test_an_unknown_model_is_refused_with_those_that_exist(local: LocalModel) -> None:
    with pytest.raises(StackError, match=r"MODEL=gpt is not known.*scripted, qwen2.5-coder-1.5b.*smollm2-135m"):
        local.choose(Wishes("gpt"))


def test_a_provider_of_the_environment_is_used_and_nothing_is_fetched(local: LocalModel) -> None:
    choice = local.choose(Wishes(provider="anthropic"))
    assert "anthropic" in choice.said
    assert not local.cache.exists()


def test_a_model_that_does_not_load_is_left_out_and_says_so(local: LocalModel) -> None:
    choice = local.choose(Wishes("broken"), [broken_model(local.cache)])
    assert "scripted" in choice.said
    assert "Broken is left out" in local.said[-1]  # type: ignore[attr-defined]
    assert local.child is not None
    assert not local.child.alive()


def test_a_local_server_is_found_by_the_models_it_lists(tmp_path: Path) -> None:
    class Ollama(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"object": "list", "data": [{"id": "llama3.2:3b"}, {"id": "qwen3:8b"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Ollama) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        nobody = free_port(tmp_path / "port")
        choice = find_server(
            (("LM Studio", nobody, "LMSTUDIO_BASE_URL"), ("Ollama", server.server_port, "OLLAMA_BASE_URL"))
        )
        server.shutdown()
        thread.join()
    assert choice is not None
    assert choice.said == f"Ollama on port {server.server_port} with llama3.2:3b, qwen3:8b"
    assert choice.env == {"OLLAMA_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1"}


def test_a_web_server_that_lists_no_models_is_no_provider() -> None:
    class Website(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"[1]\n")

        def log_message(self, *args: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Website) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = find_server((("vLLM", server.server_port, "VLLM_API_BASE"),))
        server.shutdown()
        thread.join()
    assert found is None
