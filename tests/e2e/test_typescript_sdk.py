"""The same as users of the TypeScript SDK do it; the scenarios and their checks are in ts/sdk.mjs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.live import EMBEDDING, MODEL, Live

SCRIPTS = Path(__file__).parent / "ts"


@pytest.fixture(scope="module")
def node_modules() -> None:
    if not (SCRIPTS / "node_modules").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=SCRIPTS, check=True)


def run(live: Live, *arguments: str) -> str:
    told = {
        "PATH": os.environ["PATH"],
        "LETTA_BASE_URL": live.url,
        "LETTA_API_KEY": live.key,
        "MODEL": MODEL,
        "EMBEDDING": EMBEDDING,
    }
    done = subprocess.run(
        ["node", *arguments], cwd=SCRIPTS, env=told, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("scenario", ["hello", "streaming", "resume", "conversations", "errors"])
def test_the_typescript_sdk_works(live: Live, node_modules: None, slow_tokens: None, scenario: str) -> None:
    assert run(live, "sdk.mjs", scenario) == "ok"


def test_every_method_of_the_typescript_sdk_works(live: Live, node_modules: None) -> None:
    """Those of agents, messages, blocks, tools, conversations, runs and steps that are no later issue's."""
    found = json.loads(run(live, "surface.mjs"))

    assert (found["failed"], found["unknown"]) == ({}, [])
    assert found["called"] > 60
