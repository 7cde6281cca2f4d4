"""A tool's packages are asked for when it is made, by a task, before a call wants them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from agents import tasks
from agents.sandbox import configured
from agents.tools.packages import INSTALL
from tests.support.api import Api

SOURCE = 'def count(a: int) -> int:\n    """Counts.\n\n    Args:\n        a: From where.\n    """\n    return a\n'
WANTED = [{"name": "no-such-package-of-ours", "version": "1.0"}]


@pytest.fixture
def sandbox(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    settings.SANDBOX_DIR, settings.SANDBOX_POOL = tmp_path, 0
    configured.sandbox.cache_clear()
    yield configured.sandbox()
    configured.sandbox.cache_clear()


def test_making_a_tool_asks_for_its_packages_and_the_task_says_how_it_went(
    api: Api, redis: Any, sandbox: Any, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        made = api.post("/tools/", {"source_code": SOURCE, "pip_requirements": WANTED}).ok()
        api.patch(f"/tools/{made['id']}", {"tags": ["a"]}).ok()
    asked = [json.loads(raw) for raw in redis.lrange("runs", 0, -1)]
    assert [message["headers"]["task"] for message in asked] == [INSTALL]
    assert asked[0]["headers"]["argsrepr"] == "(['no-such-package-of-ours==1.0'],)"
    tasks.install_packages(["no-such-package-of-ours==1.0"])
    assert "No matching distribution" in sandbox.packages(["no-such-package-of-ours==1.0"])
