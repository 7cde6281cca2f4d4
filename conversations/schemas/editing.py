"""What a stored message is changed to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from agents.schemas.base import Wire
from agents.tools.arguments import clean_all
from conversations.inputs import Content, TextContent


class _Update(Wire):
    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return clean_all(value)


class UpdateSystemMessage(_Update):
    message_type: Literal["system_message"]
    content: str


class UpdateUserMessage(_Update):
    message_type: Literal["user_message"]
    content: Content


class UpdateAssistantMessage(_Update):
    message_type: Literal["assistant_message"]
    content: str | list[TextContent]


class UpdateReasoningMessage(_Update):
    message_type: Literal["reasoning_message"]
    reasoning: str


UpdateMessage = Annotated[
    UpdateSystemMessage | UpdateUserMessage | UpdateAssistantMessage | UpdateReasoningMessage,
    Field(discriminator="message_type"),
]
