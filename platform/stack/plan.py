"""Whether the databases already have the tables that this checkout wants, known without asking them.

A Python start costs a second; most starts change no table. Asked only of embedded parts: the answer lies in their own
folders, and goes with them when they are removed.
"""

import hashlib
from pathlib import Path

from stack.parts import Stack

SOURCES = ("*/migrations/*.py", "platform/*/migrations/*.py", "telemetry/schema/*", "requirements.txt")


class Plan:
    def __init__(self, root: Path, parts: Stack) -> None:
        self.marks = [parts.data_dir / name / "migrated" for name in ("postgres", "clickhouse")]
        self.embedded = not {"DATABASE_URL", "CLICKHOUSE_URL"} & set(parts.given)
        self.digest = _digest(root)

    def done(self) -> bool:
        return self.embedded and all(mark.exists() and mark.read_text() == self.digest for mark in self.marks)

    def mark(self) -> None:
        for mark in self.marks if self.embedded else ():
            mark.write_text(self.digest)


def _digest(root: Path) -> str:
    found = hashlib.sha256()
    for path in sorted({path for pattern in SOURCES for path in root.glob(pattern) if path.is_file()}):
        found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
