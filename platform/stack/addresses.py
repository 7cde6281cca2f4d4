"""Where the running parts answer: written by who starts them, read by every other process of this checkout."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = "stack.json"


@dataclass(frozen=True, repr=False)
class Addresses:
    """Addresses with their credentials; never print one."""

    database_url: str = ""
    redis_url: str = ""
    clickhouse_url: str = ""
    clickhouse_console_url: str = ""
    model_base_url: str = ""
    model_key: str = ""
    model_name: str = ""
    embedding_dir: str = ""


def read(data_dir: Path) -> Addresses | None:
    """None when no stack of this data directory runs (or its owner died without a word)."""
    try:
        stored = json.loads((data_dir / FILE).read_text())
    except (OSError, ValueError):
        return None
    owner, began = stored.pop("owner", 0), stored.pop("owner_began", "")
    if not _alive(owner) or started_at(owner) != began:
        return None
    known = {field.name for field in fields(Addresses)}
    return Addresses(**{name: value for name, value in stored.items() if name in known})


def write(data_dir: Path, addresses: Addresses) -> None:
    """Replaces the file whole, so that a reader never sees half of it."""
    target = data_dir / FILE
    fresh = target.with_suffix(f".{os.getpid()}")
    owner = {"owner": os.getpid(), "owner_began": started_at(os.getpid())}
    write_private(fresh, json.dumps(owner | asdict(addresses)))
    fresh.replace(target)


def forget(data_dir: Path) -> None:
    (data_dir / FILE).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Readable by this user alone, from its first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def started_at(pid: int) -> str:
    """Tells a process from a later one with the same pid; "" where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
