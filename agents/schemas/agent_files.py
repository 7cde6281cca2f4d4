"""Agent files (`.af`): agents with their blocks, tools and messages as one JSON document; ids are local to the file.

What such a file has and this server does not know is passed over and counted, not refused: other versions wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agents.schemas.agents import Handle, Name
from agents.schemas.base import ConversationId, Wire
from agents.schemas.content import FilePart, ImagePart, TextPart

MAX_BYTES = 64 * 1024**2
MAX_DEPTH = 60
MAX_AGENTS, MAX_PARTS, MAX_MESSAGES, MAX_PASSAGES = 50, 1_000, 100_000, 100_000
Short = Annotated[str, Field(max_length=200)]


def _aware(at: datetime) -> datetime:
    """In UTC where it says no zone; within the years that every zone can show."""
    if not 1900 <= at.year <= 2200:
        raise ValueError("a time between 1900 and 2200 is wanted")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class ReasoningPart(FilePart):
    type: Literal["reasoning"]
    reasoning: str
    is_native: bool = True
    signature: str | None = None


class RedactedPart(FilePart):
    type: Literal["redacted_reasoning"]
    data: str


class SummaryText(FilePart):
    text: str
    index: int = 0


class SummarizedPart(FilePart):
    """How OpenAI's reasoning travels: its id and what only OpenAI can read."""

    type: Literal["summarized_reasoning"]
    id: str | None = None
    summary: list[SummaryText] = Field(default_factory=list)
    encrypted_content: str | None = None
    signature: str | None = None


class OtherPart(FilePart):
    """Of calls and returns, which stand in fields of their own, and of reasoning that was left out."""

    type: Literal["tool_call", "tool_return", "omitted_reasoning"]


Part = Annotated[
    TextPart | ImagePart | ReasoningPart | RedactedPart | SummarizedPart | OtherPart, Field(discriminator="type")
]


class Function(FilePart):
    name: Short
    arguments: str


class Call(FilePart):
    id: Short
    function: Function
    type: Literal["function"] = "function"
    signature: str | None = None


class Return(FilePart):
    tool_call_id: Short | None = None
    status: Literal["success", "error"] = "success"
    func_response: str | list[Part] | None = None
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    name: Short | None = None
    refused: bool | None = None
    edited_arguments: dict[str, Any] | None = None


class FileMessage(FilePart):
    """`stats` and `is_err` are of this server, as are `name` of a return and `signature` of a call."""

    id: Short
    type: Literal["message"] | None = "message"
    role: Literal["system", "user", "assistant", "tool", "function", "approval", "summary"]
    content: str | list[Part] | None = None
    name: Short | None = None
    otid: Short | None = None
    sender_id: Annotated[str, Field(max_length=60)] | None = None
    group_id: Annotated[str, Field(max_length=60)] | None = None
    model: Annotated[str, Field(max_length=255)] | None = None
    agent_id: str | None = None
    batch_item_id: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: Short | None = None
    tool_returns: list[Return] | None = None
    created_at: Annotated[datetime, AfterValidator(_aware)] | None = None
    approve: bool | None = None
    approval_request_id: str | None = None
    denial_reason: str | None = None
    approvals: list[dict[str, Any]] | None = None
    stats: dict[str, Any] | None = None
    is_err: bool | None = None


class FileBlock(FilePart):
    id: Short
    label: str
    value: str


class FileTool(FilePart):
    id: Short
    name: Short | None = None
    tool_type: str = "custom"


class FilePassage(FilePart):
    """Archival memory, which the files of other servers do not have. Its vectors stay behind."""

    text: str
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: Annotated[datetime, AfterValidator(_aware)] | None = None


class FileAgent(FilePart):
    """Fields of CreateAgent, checked when the agent is made, and what it is made of."""

    id: Short
    name: str | None = None
    block_ids: list[Short] | None = None
    tool_ids: list[Short] | None = None
    in_context_message_ids: list[Short] = Field(default_factory=list)
    messages: Annotated[list[FileMessage], Field(max_length=MAX_MESSAGES)] = Field(default_factory=list)
    passages: Annotated[list[FilePassage], Field(max_length=MAX_PASSAGES)] = Field(default_factory=list)


class AgentFile(FilePart):
    agents: Annotated[list[FileAgent], Field(min_length=1, max_length=MAX_AGENTS)]
    blocks: Annotated[list[FileBlock], Field(max_length=MAX_PARTS)] = Field(default_factory=list)
    tools: Annotated[list[FileTool], Field(max_length=MAX_PARTS)] = Field(default_factory=list)
    groups: list[dict[str, Any]] = Field(default_factory=list)
    files: list[dict[str, Any]] = Field(default_factory=list)
    sources: list[dict[str, Any]] = Field(default_factory=list)
    mcp_servers: list[dict[str, Any]] = Field(default_factory=list)
    skills: list[dict[str, Any]] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None

    def unknown(self) -> int:
        """How many fields nobody here knows, of the file, its messages and passages."""
        return sum(len(part.model_extra or ()) for part in self._closed())

    def _closed(self) -> Iterator[FilePart]:
        yield self
        for agent in self.agents:
            yield from agent.messages
            yield from agent.passages


class SkillFile(Wire):
    name: Short
    files: dict[str, str] | None = None
    source_url: str | None = None


class ExportChoices(Wire):
    conversation_id: ConversationId | None = None
    scrub_messages: bool = False
    scrub_passages: bool = False


class ExportQuery(ExportChoices):
    """`use_legacy_format` and `max_steps` are of older versions: one form is written, and it is whole."""

    max_steps: int = 100
    use_legacy_format: bool = False


class ExportBody(ExportChoices):
    skills: Annotated[list[SkillFile], Field(max_length=100)] = Field(default_factory=list)


class ImportForm(Wire):
    """The fields of an import beside the file. The second half is deprecated spellings."""

    name: str | None = None
    model: str | None = None
    embedding: str | None = None
    secrets: str | None = None
    strip_messages: bool = False
    strip_passages: bool = False
    override_existing_tools: bool = True
    append_copy_suffix: bool = True
    override_name: str | None = None
    override_model_handle: str | None = None
    override_embedding_handle: str | None = None
    env_vars_json: str | None = None


class ImportedAgents(Wire):
    """`left_out`: what of the file this server has no place for, by kind."""

    agent_ids: list[str]
    left_out: dict[str, int] = Field(default_factory=dict)


class CloneAgent(Wire):
    """`copy_blocks` false: the clone shares the blocks, and edits of one are seen by both."""

    name: Name | None = None
    model: Handle | None = None
    with_messages: bool = True
    copy_blocks: bool = True
    copy_secrets: bool = True
