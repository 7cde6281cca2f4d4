"""What fills an agent's context window, part by part, in estimated tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.context import estimate_tokens, memory_section, metadata_section, rules_section, to_model_message
from agents.models import Tool
from agents.schemas.agents import ContextWindowOverview
from agents.states import reach
from conversations.models import Conversation, Message
from conversations.rows import COLUMNS, Row
from conversations.turn import prompt_input
from conversations.wire import content_part


def overview(conversation: Conversation) -> ContextWindowOverview:
    """Of the conversation as its next step would see it. Seven queries, whatever its length."""
    agent = conversation.agent
    model = reach(agent.organization_id, conversation.model or agent.model).info
    stored = Message.objects.filter(conversation=conversation)
    rows: list[Row] = sorted(stored.filter(in_context=True).values(*COLUMNS, "updated_at"), key=_order)
    prompt = prompt_input(conversation, agent, model.provider_type, len(rows))
    tools = Tool.objects.filter(agenttool__agent=agent).order_by("agenttool__id").values_list("json_schema", flat=True)
    functions = [_function(schema) for schema in tools]
    summary = "\n\n".join(row_text(row) for row in rows if row["role"] == "summary") or None
    parts = {
        "system": agent.system,
        "core_memory": memory_section(prompt),
        "external_memory_summary": metadata_section(prompt),
        "tool_usage_rules": rules_section(prompt) or None,
        "summary_memory": summary,
        "functions_definitions": functions,
    }
    tokens = {f"num_tokens_{name}": estimate_tokens(part) if part else 0 for name, part in parts.items()}
    spoken = [row for row in rows if row["role"] not in ("system", "summary")]
    tokens["num_tokens_messages"] = sum(_tokens(row, agent.agent_type, agent.timezone) for row in spoken)
    own_limit = conversation.context_window_limit or agent.context_window_limit
    shown: dict[str, Any] = {
        **tokens,
        "context_window_size_max": min(own_limit or model.context_window, model.context_window),
        "context_window_size_current": sum(tokens.values()),
        "num_messages": len(rows),
        "num_archival_memory": prompt.archival_passages,
        "num_recall_memory": stored.count(),
        "system_prompt": agent.system,
        "messages": [stored_message(row) for row in rows],
        **{name: part for name, part in parts.items() if name != "system"},
    }
    return ContextWindowOverview(**shown)


def stored_message(row: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's stored Message of a row."""
    calls = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in row["tool_calls"]
    ]
    returns = [_stored_return(item) for item in row["tool_returns"]]
    given = row["approvals"] if isinstance(row["approvals"], list) else []
    first: Mapping[str, Any] = next((item for item in given if item.get("type") == "approval"), {})
    return {
        "created_by_id": None,
        "last_updated_by_id": None,
        "created_at": _iso(row["created_at"]),
        "updated_at": _iso(row.get("updated_at")),
        "id": row["id"],
        "agent_id": row["agent_id"],
        "model": row["model"],
        "role": row["role"],
        "content": [content_part(part) for part in row["content"]],
        "name": row["name"],
        "tool_calls": calls or None,
        "tool_call_id": row["tool_returns"][0]["tool_call_id"] if row["tool_returns"] else None,
        "step_id": row["step_id"],
        "run_id": row["run_id"],
        "otid": row["otid"],
        "tool_returns": returns,
        "group_id": row["group_id"],
        "sender_id": row["sender_id"],
        "batch_item_id": row.get("batch_item_id"),
        "conversation_id": row["conversation_id"],
        "is_err": True if row["is_err"] else None,
        "approval_request_id": row["group_id"] if first else None,
        "approve": first.get("approve"),
        "denial_reason": first.get("reason"),
        "approvals": given,
    }


def row_text(row: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in row["content"] if part["type"] == "text")


def _stored_return(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tool_call_id": item["tool_call_id"],
        "status": "error" if item.get("is_error") else "success",
        "stdout": item.get("stdout"),
        "stderr": item.get("stderr"),
        "func_response": item["content"],
    }


def _function(schema: Mapping[str, Any]) -> dict[str, Any]:
    described = {name: schema.get(name) for name in ("name", "description", "parameters", "strict")}
    return {"function": described, "type": "function"}


def _tokens(row: Row, agent_type: str, timezone: str) -> int:
    message = to_model_message(row, agent_type=agent_type, timezone=timezone)
    return 0 if message is None else estimate_tokens(message)


def _order(row: Row) -> tuple[int, int]:
    """As the model sees them: system, summary, the rest."""
    return (0 if row["seq"] == 0 else 1 if row["role"] == "summary" else 2, row["seq"])


def _iso(at: Any) -> str | None:
    return None if at is None else at.isoformat()
