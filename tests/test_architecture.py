"""The house's rules, held by tests: rooms, sizes, names, what may read the environment, and what the papers promise."""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("platform", "agents", "conversations", "telemetry")
DJANGO_FOLDERS = {"migrations", "management", "commands", "templatetags"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WORDS_THAT_SAY_NOTHING = {"Manager", "Service", "Helper", "Helpers", "Util", "Utils", "Handler", "V2"}

# Who else may touch the environment, and why.
READS_ENVIRONMENT = {
    "platform/config/env.py": "the one reader",
    "manage.py": "names the settings module, as Django's own manage.py does",
    "platform/config/asgi.py": "names the settings module for servers that start here",
    "platform/config/celery.py": "names the settings module for `celery -A config`",
    "agents/sandbox/guest.py": "a tool's own process, which is given the tool's variables and no others",
}
PRINTS = {
    "platform/stack/terminal.py": "it is the terminal",
    "platform/stack/clickhouse_server.py": "a process of its own, whose standard output its parent reads",
}


@cache
def python_files() -> tuple[str, ...]:
    """Every Python file of the project, by its path from the root."""
    found = ["manage.py"]
    for folder in (*PRODUCT, "tests"):
        found += [str(path.relative_to(ROOT)) for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(name for name in found if "node_modules" not in name)


def written_files() -> tuple[str, ...]:
    """All but migrations, which Django writes."""
    return tuple(name for name in python_files() if "/migrations/" not in name)


def product_files() -> tuple[str, ...]:
    return tuple(name for name in written_files() if not name.startswith("tests/"))


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text(name))))


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name in written_files():
        for node in nodes(name):
            if isinstance(node, FUNCTIONS):
                yield name, node


def test_imports_go_down_the_rooms_only() -> None:
    """The contracts are in pyproject.toml, under tool.importlinter."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache", "--no-logo"],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_platform_shadows_nothing() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert Path(platform.__file__ or "").parent == Path(sysconfig.get_path("stdlib"))


def test_tests_are_folders_and_not_packages() -> None:
    assert not (ROOT / "tests" / "platform").exists()
    assert [name for name in python_files() if name.startswith("tests/") and name.endswith("/__init__.py")] == []


def test_no_two_test_files_have_one_name() -> None:
    names = [Path(name).name for name in python_files() if Path(name).name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_files_fit_in_a_head() -> None:
    lengths = {name: len(text(name).splitlines()) for name in written_files()}
    assert {name: n for name, n in lengths.items() if n > (600 if name.startswith("tests/") else 400)} == {}


def test_functions_fit_on_a_screen() -> None:
    lengths = {f"{name}:{f.name}": (f.end_lineno or 0) - f.lineno + 1 for name, f in functions()}
    assert {name: n for name, n in lengths.items() if n > 60} == {}


def test_functions_take_at_most_five_parameters() -> None:
    counts = {f"{name}:{f.name}": len(_parameters(f)) for name, f in functions() if not name.startswith("tests/")}
    assert {name: n for name, n in counts.items() if n > 5} == {}


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        name
        for name in product_files()
        if any(isinstance(n, ast.Attribute) and n.attr in {"environ", "environb", "getenv"} for n in nodes(name))
        or any(isinstance(n, ast.ImportFrom) and n.module == "os" for n in nodes(name))
    ]
    assert sorted(readers) == sorted(READS_ENVIRONMENT)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name
        for name in written_files()
        if ast.get_docstring(ast.parse(text(name))) is None
        and not (name.endswith("__init__.py") and Path(name).parent.name in DJANGO_FOLDERS)
    ]
    assert silent == []


def test_only_terminals_print() -> None:
    printing = [
        name
        for name in product_files()
        if any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print" for n in nodes(name))
    ]
    assert sorted(printing) == sorted(PRINTS)


def test_who_catches_everything_says_why() -> None:
    """It re-raises, or a comment within the clause gives the reason."""
    found = []
    for name in written_files():
        lines = text(name).splitlines()
        for node in nodes(name):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node) and not _raises(node):
                clause = lines[node.lineno - 1 : node.end_lineno]
                found += [] if any("#" in line for line in clause) else [f"{name}:{node.lineno}"]
    assert found == []


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or bool(re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type)))


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for statement in handler.body for node in ast.walk(statement))


def test_names_say_what_a_thing_is() -> None:
    """A class, and the file of it, may be called as the framework's class that it derives from is: UserManager."""
    vague = []
    for name in written_files():
        classes = [node for node in nodes(name) if isinstance(node, ast.ClassDef)]
        inherited = {word for node in classes for base in node.bases for word in _words(ast.unparse(base))}
        stem = Path(name).stem
        for given in ("" if stem.startswith("test_") else stem.title(), *(node.name for node in classes)):
            if (_words(given) & WORDS_THAT_SAY_NOTHING) - inherited:
                vague.append(f"{name}: {given}")
    assert vague == []


def _words(name: str) -> set[str]:
    return set(re.findall(r"[A-Z][a-z]*\d*", name))


def test_tests_use_doubles_and_not_mocks() -> None:
    """Once a test must turn the clock, it may be named here."""
    mocking = [
        name
        for name in python_files()
        for n in nodes(name)
        if (isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] in {"mock", "unittest"})
        or (isinstance(n, ast.Import) and any(alias.name.split(".")[0] in {"mock", "unittest"} for alias in n.names))
    ]
    assert mocking == []


def test_no_test_is_skipped_and_nothing_is_put_off() -> None:
    put_off = re.compile(r"\bpytest\.(skip|xfail|importorskip)\b|\bmark\.(skip|skipif|xfail)\b|#.*\b(TODO|FIXME|XXX)\b")
    own = str(Path(__file__).relative_to(ROOT))
    # Methods of the SDK that a later issue brings: strict, so that none stays on the list when it works.
    later = ("tests/e2e/test_sdk_surface.py", '@pytest.mark.xfail(reason="of a later issue", strict=True')
    texts = {name: text(name).replace(later[1] if name == later[0] else "\0", "") for name in written_files()}
    assert [name for name, found in texts.items() if name != own and put_off.search(found)] == []


def test_migrations_are_in_step_with_the_models() -> None:
    from django.apps import apps
    from django.db.migrations.autodetector import MigrationAutodetector
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.state import ProjectState

    loader = MigrationLoader(None)
    missing = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps)).changes(loader.graph)
    assert {app: [str(change) for change in found[0].operations] for app, found in missing.items()} == {}


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    from config import env

    known = {name.upper() for name in env.Env.model_fields}
    known |= {name for key, _, _, url in env.KEYED_PROVIDERS for name in (key, url) if name}
    known |= {url for url, _ in env.KEYLESS_PROVIDERS}
    assert set(_example()) == known | set(env.CLOUD_VARIABLES)


def test_the_example_shows_the_defaults() -> None:
    from config import env

    shown = _example()
    for name, field in env.Env.model_fields.items():
        default = "" if field.default is None else str(field.default).removeprefix(f"{ROOT}/")
        assert (name, shown[name.upper()].casefold()) == (name, default.casefold())


def _example() -> dict[str, str]:
    lines = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text(".env.example"), re.MULTILINE)
    assert len(lines) == len(dict(lines))
    return dict(lines)


def papers() -> list[str]:
    beside = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    return [*beside, *(str(p.relative_to(ROOT)) for f in ("docs", "deploy") for p in sorted((ROOT / f).rglob("*.md")))]


@pytest.mark.parametrize("name", papers())
def test_what_a_paper_names_exists(name: str) -> None:
    """Links to files, and paths of this tree in backquotes."""
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text(name)) if "://" not in target]
    tops = "|".join((*PRODUCT, "templates", "tests", "docs", "deploy"))
    paths = re.findall(rf"`((?:{tops})/[\w./-]*)`", text(name))
    missing = [link for link in links if link and not (ROOT / name).parent.joinpath(link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []
