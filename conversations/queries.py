"""Finding conversations, messages, runs and steps: the filters of the lists, each one database query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from accounts.access import Caller
from conversations.access import conversations_of, messages_of, runs_of, steps_of
from conversations.models import ACTIVE, Conversation, Message, Role, Run, Step
from conversations.rows import COLUMNS, Row, dated
from conversations.schemas.base import LongPage
from conversations.schemas.conversations import ConversationFilters, ConversationOut, conversation_out
from conversations.schemas.messages import AgentMessageQuery, ConversationMessageQuery, MessageQuery
from conversations.schemas.runs import STATUSES, RunFilters
from conversations.schemas.steps import StepFilters
from conversations.wire import Wire, messages_of as wire_of
from core.pagination import page

# Which stored messages can give an API message of a type; the others are not even read.
_ROLES_OF = {
    "system_message": {Role.SYSTEM},
    "user_message": {Role.USER, Role.SUMMARY},
    "summary_message": {Role.SUMMARY},
    "assistant_message": {Role.ASSISTANT, Role.APPROVAL},
    "reasoning_message": {Role.ASSISTANT, Role.APPROVAL},
    "hidden_reasoning_message": {Role.ASSISTANT, Role.APPROVAL},
    "tool_call_message": {Role.ASSISTANT},
    "tool_return_message": {Role.TOOL},
    "approval_request_message": {Role.APPROVAL},
    "approval_response_message": {Role.APPROVAL},
}
