"""The SDK as the sandbox would install it for tools, taken from this installation: no test asks a registry for it."""

from __future__ import annotations

import os
import shutil
import site
from pathlib import Path

from agents.sandbox.own_server import CLIENT_PACKAGE
from agents.sandbox.pip import Pip
from agents.sandbox.requirements import Environments

_NAMES = [
    "letta_client",
    "httpx",
    "httpcore",
    "h11",
    "anyio",
    "sniffio",
    "distro",
    "certifi",
    "idna",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_inspection",
    "typing_extensions.py",
]


def installed(folder: Path) -> None:
    """In the sandbox's `folder`."""
    place = Environments(folder / "packages", Pip())._place(Pip.checked([CLIENT_PACKAGE]))
    if place.is_dir():
        return
    place.mkdir(parents=True)
    [packages] = site.getsitepackages()
    for name in _NAMES:
        source = Path(packages, name)
        if source.is_dir():
            shutil.copytree(source, place / name, copy_function=_linked, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            _linked(str(source), str(place / name))


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)
