"""A tool's packages are asked for when it is made, by a task, before a call wants them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from agents import tasks
from agents.tools.packages import INSTALL
from tests.support.api import Api

SOURCE = 'def count(a: int) -> int:\n    """Counts.\n\n    Args:\n        a: From where.\n    """\n    return a\n'
WANTED = [{"name": "no-such-package-of-ours", "version": "1.0"}]


def test_making_a_tool_asks_for_its_packages_and_the_task_says_how_it_went(
    api: Api,
    redis: Any,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        made = api.post("/tools/", {"source_code": SOURCE, "pip_requirements": WANTED}).ok()
        api.patch(f"/tools/{made['id']}", {"tags": ["a"]}).ok()
    asked = [json.loads(raw) for raw in redis.lrange("runs", 0, -1)]
    assert [message["headers"]["task"] for message in asked] == [INSTALL]
    assert asked[0]["headers"]["argsrepr"] == "(['no-such-package-of-ours==1.0'], 'python', '')"
    caplog.set_level("INFO")
    tasks.install_packages(["--index-url=http://elsewhere"])
    assert "write a pip requirement as name" in caplog.text
