"""Custom tools written in the admin: made, changed and deleted by operators, with what is wrong beside the source."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import AuditEntry
from agents.models import AgentTool, Tool
from tests.support.seed import Seeded

SOURCE = 'def add(a: int) -> int:\n    """Add one.\n\n    Args:\n        a: The number.\n    """\n    return a + 1\n'
FORM = {
    "source_type": "python",
    "source_code": SOURCE.replace("\n", "\r\n"),
    "tags": "math",
    "return_char_limit": "500",
    "default_requires_approval": "unknown",
    "pip_requirements": "idna==3.10\nnumpy",
    "npm_requirements": "",
}


def page(tool: Tool, tab: str = "source") -> str:
    return reverse(f"admin:agents_tool_{tab}", args=[tool.pk])


@pytest.fixture
def tool(browser: Any, world: Seeded) -> Tool:
    sent = {"organization": world.organization.pk, **FORM}
    assert browser("operator").post(reverse("admin:agents_tool_add"), sent).status_code == 302
    made = Tool.objects.get(organization=world.organization, name="add")
    AgentTool.objects.create(agent=world.agents[0], tool=made)
    return made


def test_an_operator_makes_a_tool_from_its_source(tool: Tool, world: Seeded) -> None:
    assert (tool.source_code, tool.tags, tool.return_char_limit) == (SOURCE, ["math"], 500)
    assert tool.pip_requirements == [{"name": "idna", "version": "3.10"}, {"name": "numpy", "version": None}]
    assert tool.json_schema["parameters"]["required"] == ["a"]
    assert AuditEntry.objects.get(action="tool.create").target == tool.pk


def test_an_operator_changes_it_and_sees_the_schema(browser: Any, tool: Tool) -> None:
    client = browser("owner")
    shown = client.get(page(tool)).content.decode()
    assert "Add one." in shown
    assert "idna==3.10" in shown
    changed = {**FORM, "source_code": SOURCE.replace("Add one.", "Add 1.").replace("add(", "plus(")}
    assert client.post(page(tool), changed).status_code == 302
    tool.refresh_from_db()
    assert (tool.name, tool.description) == ("plus", "Add 1.")
    assert AuditEntry.objects.get(action="tool.update").target == tool.pk
    before = tool.updated_at
    assert client.post(page(tool), changed).status_code == 302
    tool.refresh_from_db()
    assert tool.updated_at == before, "nothing was changed"


def test_what_is_wrong_stands_beside_the_source(browser: Any, tool: Tool, world: Seeded) -> None:
    client = browser("owner")
    for wrong, said in (
        ({"source_code": "def f(a: int):\n    '''F.'''\n"}, "Argument &#x27;a&#x27; has no description"),
        ({"source_code": "def f(:"}, "line 1"),
        ({"pip_requirements": "--index-url=x"}, "pip requirement"),
        ({"return_char_limit": "0"}, "greater than or equal to 1"),
    ):
        answer = client.post(page(tool), {**FORM, **wrong})
        assert (answer.status_code, said in answer.content.decode()) == (200, True), said
    again = client.post(reverse("admin:agents_tool_add"), {"organization": world.organization.pk, **FORM})
    assert "is called add" in again.content.decode()
    tool.refresh_from_db()
    assert tool.source_code == SOURCE


@pytest.mark.parametrize("role", ["viewer", "outsider"])
def test_nobody_else_writes_tools(browser: Any, tool: Tool, world: Seeded, role: str) -> None:
    client = browser(role)
    answers = [
        client.post(page(tool), {**FORM, "tags": "theirs"}),
        client.post(reverse("admin:agents_tool_add"), {"organization": world.organization.pk, **FORM}),
        client.post(reverse("admin:agents_tool_delete", args=[tool.pk]), {"post": "yes"}),
    ]
    assert {answer.status_code for answer in answers} <= {302, 403, 404}
    tool.refresh_from_db()
    assert tool.tags == ["math"]


def test_base_tools_are_looked_at_alone(browser: Any, world: Seeded, foreign: Seeded) -> None:
    base = Tool.objects.get(name="memory_insert", organization=None)
    client = browser("owner")
    assert "No source here" in client.get(page(base)).content.decode()
    assert client.post(page(base), FORM).status_code == 403
    shown = client.get(page(base, "agents")).content.decode()
    assert str(world.agents[0].pk) in shown
    assert str(foreign.agents[0].pk) not in shown


def test_a_tool_shows_its_agents_and_is_deleted(browser: Any, tool: Tool, world: Seeded) -> None:
    client = browser("owner")
    assert str(world.agents[0].pk) in client.get(page(tool, "agents")).content.decode()
    client.post(reverse("admin:agents_tool_delete", args=[tool.pk]), {"post": "yes"})
    assert not Tool.objects.filter(pk=tool.pk).exists()
    assert AuditEntry.objects.get(action="tool.delete").target == tool.pk
