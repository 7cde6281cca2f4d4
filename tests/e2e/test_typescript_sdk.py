"""The same as users of the TypeScript SDK do it; the scenarios and their checks are in ts/sdk.mjs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.live import MODEL, Live

SCRIPTS = Path(__file__).parent / "ts"


@pytest.fixture(scope="module")
def node_modules() -> None:
    if not (SCRIPTS / "node_modules").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=SCRIPTS, check=True)


@pytest.mark.parametrize("scenario", ["hello", "streaming", "resume", "conversations", "errors"])
def test_the_typescript_sdk_works(live: Live, node_modules: None, slow_tokens: None, scenario: str) -> None:
    told = {"PATH": os.environ["PATH"], "LETTA_BASE_URL": live.url, "LETTA_API_KEY": live.key, "MODEL": MODEL}
    done = subprocess.run(
        ["node", "sdk.mjs", scenario], cwd=SCRIPTS, env=told, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr
