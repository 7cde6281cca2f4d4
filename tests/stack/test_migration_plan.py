"""Migrations are left out of a start only when these very files already ran on these very parts."""

from pathlib import Path

import pytest

from stack.parts import Stack
from stack.plan import Plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "agents/migrations/0001_initial.py",
        "telemetry/schema/0001_traces.sql",
        "platform/accounts/migrations/0001.py",
    ):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True)
        path.write_text("first")
    return tmp_path / "root"


@pytest.fixture
def parts(tmp_path: Path) -> Stack:
    for name in ("postgres", "clickhouse"):
        (tmp_path / "data" / name).mkdir(parents=True)
    return Stack(tmp_path / "data")


def test_a_second_start_has_nothing_to_do(root: Path, parts: Stack) -> None:
    assert not Plan(root, parts).done()
    Plan(root, parts).mark()
    assert Plan(root, parts).done()


@pytest.mark.parametrize(
    "changed",
    ["agents/migrations/0002_more.py", "telemetry/schema/0001_traces.sql", "platform/accounts/migrations/0001.py"],
)
def test_a_changed_or_new_migration_runs(root: Path, parts: Stack, changed: str) -> None:
    Plan(root, parts).mark()
    (root / changed).write_text("second")
    assert not Plan(root, parts).done()


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_removed_data_is_migrated_anew(root: Path, parts: Stack, name: str) -> None:
    Plan(root, parts).mark()
    (parts.data_dir / name / "migrated").unlink()
    assert not Plan(root, parts).done()


def test_a_database_of_the_users_own_is_always_asked(root: Path, parts: Stack) -> None:
    own = Stack(parts.data_dir, {"DATABASE_URL": "postgresql://elsewhere/db"})
    Plan(root, own).mark()
    assert not Plan(root, own).done()
    assert not Plan(root, parts).done()
