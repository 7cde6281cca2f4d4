"""What happens over time: conversations, their messages, and the runs and steps that make them."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import F, Q

from conversations import (  # noqa: F401 their tables belong to this room too
    batch_models,
    ledger_models,
    vector_models,
    vendor_models,
)
from core.fields import EncryptedTextField
from core.ids import PrefixedIdField
from core.models import Audited, OrganizationModel


def _money() -> models.DecimalField[Any, Any]:
    """US dollars, to the digits that ClickHouse keeps."""
    return models.DecimalField(max_digits=20, decimal_places=12, null=True, blank=True)


class Conversation(OrganizationModel, Audited):
    """One thread of messages with an agent; each agent has a default one.

    `next_seq` numbers its messages. `context_version` grows whenever the messages in context change otherwise than by
    appending, so that a worker knows whether what it remembers still holds. `compiled_version` is the agent's
    `prompt_version` that the stored system message shows. `sends_wait`: perhaps one does, see `conversations.queue`.
    """

    id = PrefixedIdField(prefix="conv", primary_key=True)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="conversations", db_index=False)
    is_default = models.BooleanField(default=False, editable=False)
    summary = models.TextField(null=True, blank=True, help_text="Its title.")
    description = models.TextField(null=True, blank=True)
    model = models.CharField(max_length=255, null=True, blank=True, help_text="Handle; empty: the agent's")
    model_settings = models.JSONField(null=True, blank=True)
    context_window_limit = models.PositiveIntegerField(null=True, blank=True)
    hidden = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    last_message_at = models.DateTimeField(null=True, blank=True)
    last_run_completion = models.DateTimeField(null=True, blank=True, editable=False)
    next_seq = models.PositiveIntegerField(default=0, editable=False)
    context_version = models.PositiveIntegerField(default=0, editable=False)
    compiled_version = models.PositiveIntegerField(default=0, editable=False)
    context_tokens = models.PositiveIntegerField(default=0, editable=False, help_text="As the last model call counted.")
    pending_approval_id = models.CharField(max_length=60, blank=True, editable=False, help_text="Message it waits on.")
    copied = models.PositiveIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Messages that came with a fork; searches find the originals.",
    )
    sends_wait = models.BooleanField(default=False, db_default=False, editable=False)
    vector_seq = models.PositiveIntegerField(
        default=1, db_default=1, editable=False, help_text="Messages before this one were turned into vectors."
    )
    vectors_after = models.DateTimeField(null=True, editable=False, help_text="Its vectors failed: when to try again.")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["agent"], condition=Q(is_default=True), name="one_default_conversation")
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"]),
            models.Index(fields=["agent", "-created_at", "id"]),
            models.Index(fields=["organization", "-last_message_at", "id"]),
            models.Index(fields=["organization", "-last_run_completion", "id"]),
            models.Index(
                fields=["-last_message_at"], condition=Q(vector_seq__lt=F("next_seq")), name="without_vectors"
            ),
        ]

    def __str__(self) -> str:
        return self.summary or ("default conversation" if self.is_default else str(self.id))


class Role(models.TextChoices):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    APPROVAL = "approval"
    SUMMARY = "summary"


class Message(OrganizationModel):
    """One stored message. JSON columns, `content` and its like, hold the parts of `providers.types` by field name.

    content: [{"type": "text", "text": ...} | {"type": "image", "media_type", "data"} | {"type": "reasoning", "text",
    "signature", "id", "encrypted"} | {"type": "redacted_reasoning", "data"}]
    tool_calls: [{"id", "name", "arguments", "signature"}], `arguments` the JSON text as the model wrote it; `signature`
    is there where the model signed the call.
    tool_returns: [{"tool_call_id", "name", "content", "is_error", "stdout", "stderr"}], with "refused": true where the
    call was not admitted, so that tool rules do not count it, and "edited_arguments" where a human changed the call's.
    approvals (role approval): what the caller answered, as the wire has it; null in a request for approval.
    stats: of role summary the contract's CompactionStats; of a request for approval {"awaits": [tool call ids]},
    and where it expires {"expires_at": ISO text}.
    `in_context`: the model still sees it; the order is system, summary, then by `seq`.
    `text` is what searches read.
    """

    id = PrefixedIdField(prefix="message", primary_key=True)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="+", db_index=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False)
    run = models.ForeignKey(
        "Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="messages", db_index=False
    )
    step = models.ForeignKey("Step", on_delete=models.SET_NULL, null=True, blank=True, related_name="messages")
    seq = models.PositiveIntegerField()
    role = models.CharField(max_length=10, choices=Role.choices)
    content = models.JSONField(default=list)
    tool_calls = models.JSONField(default=list)
    tool_returns = models.JSONField(default=list)
    approvals = models.JSONField(null=True, blank=True)
    stats = models.JSONField(null=True, blank=True)
    name = models.CharField(max_length=200, null=True, blank=True)
    otid = models.CharField(max_length=200, null=True, blank=True)
    sender_id = models.CharField(max_length=60, null=True, blank=True)
    model = models.CharField(max_length=255, null=True, blank=True)
    group_id = models.CharField(max_length=60, null=True, blank=True)
    in_context = models.BooleanField(default=True)
    is_err = models.BooleanField(default=False)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["conversation", "seq"]
        constraints = [models.UniqueConstraint(fields=["conversation", "seq"], name="one_message_per_seq")]
        indexes = [
            models.Index(fields=["conversation", "seq"], condition=Q(in_context=True), name="messages_in_context"),
            models.Index(fields=["run", "seq"]),
            models.Index(fields=["organization", "-created_at", "id"]),
            models.Index(fields=["agent", "-created_at"]),
            GinIndex(SearchVector("text", config="simple"), name="message_text"),
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"


class RunStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING_APPROVAL = "waiting_approval", "waiting for approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
TERMINAL = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class Run(OrganizationModel):
    """One turn: from what was sent to the agent's last word. A durable state machine that any worker can go on with.

    `input` holds the messages that were sent, as the wire had them; `options` the rest of the request (`max_steps`,
    `include_return_message_types`, `client_tools`, `override_model`, ...). The lease (`worker`, `lease_expires_at`)
    says who works on it; `fence` grows with every claim and every outside change, and a write that carries an older
    one is refused.

    The run is its own outbox: `callback_due_at` is set from the start where somebody wants to be told of its end, and
    emptied when that is settled; `callback_held_until` says that somebody is at it. See `conversations.callbacks`.

    `steers`: meant for the turn that runs; `folded_into`: the turn that took it in. See `conversations.steering`.
    """

    id = PrefixedIdField(prefix="run", primary_key=True)
    project = models.ForeignKey(
        "accounts.Project", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="runs", db_index=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="runs", db_index=False)
    status = models.CharField(max_length=20, choices=RunStatus.choices, default=RunStatus.QUEUED)
    waits_turn = models.BooleanField(default=False, db_default=False, help_text="Begins when the turn before it ends.")
    steers = models.BooleanField(default=False, db_default=False, editable=False)
    folded_into = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+", db_index=False
    )
    stop_reason = models.CharField(max_length=50, null=True, blank=True)
    input = models.JSONField(default=list)
    options = models.JSONField(default=dict)
    background = models.BooleanField(default=False)
    run_type = models.CharField(max_length=60, default="send_message")
    error = models.JSONField(null=True, blank=True, help_text="type, message, detail, status")
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    api_key_id = models.CharField(max_length=60, blank=True)
    user_id = models.CharField(max_length=60, blank=True)
    identity_id = models.CharField(max_length=200, blank=True, help_text="The end user that the message came from.")
    billing = models.JSONField(default=dict, blank=True)
    trace_id = models.CharField(max_length=32)
    request_id = models.CharField(max_length=200, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    fence = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    current_step_id = models.CharField(max_length=60, blank=True, help_text="The step that its worker is at.")
    step_count = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0, help_text="Steps lost in a row: workers that died on it.")
    usage = models.JSONField(default=dict, help_text="Sums over its steps, by bucket.")
    cost_usd = _money()
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    approval_expires_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Its request is denied then; see conversations.deadlines."
    )
    ttft_ms = models.PositiveIntegerField(null=True, blank=True, help_text="To the first token, from the start.")
    callback_url = models.URLField(max_length=2083, null=True, blank=True)
    callback_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    callback_held_until = models.DateTimeField(null=True, blank=True, editable=False)
    callback_attempts = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    callback_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    callback_status_code = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    callback_error = models.TextField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status__in=["queued", "running"], waits_turn=False),
                name="one_running_turn",
            ),
            models.UniqueConstraint(
                fields=["conversation", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="one_run_per_idempotency_key",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"]),
            models.Index(fields=["agent", "-created_at", "id"]),
            models.Index(fields=["conversation", "-created_at"]),
            models.Index(fields=["trace_id"], name="runs_by_trace"),
            models.Index(fields=["id"], condition=Q(status__in=["queued", "running"]), name="runs_to_sweep"),
            models.Index(
                fields=["approval_expires_at"],
                condition=Q(status="waiting_approval", approval_expires_at__isnull=False),
                name="approvals_to_expire",
            ),
            models.Index(
                fields=["conversation", "created_at", "id"],
                condition=Q(status="queued", waits_turn=True),
                name="runs_waiting_their_turn",
            ),
            models.Index(fields=["folded_into"], condition=Q(folded_into__isnull=False), name="runs_folded"),
            models.Index(fields=["callback_due_at"], condition=Q(callback_due_at__isnull=False), name="callbacks_due"),
            models.Index(
                fields=["callback_held_until"], condition=Q(callback_held_until__isnull=False), name="callbacks_held"
            ),
            models.Index(
                fields=["organization", "-created_at", "id"],
                condition=Q(callback_url__isnull=False),
                name="callbacks_of_organization",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class WebhookSecret(OrganizationModel):
    """What the organization's callbacks are signed with."""

    id = PrefixedIdField(prefix="webhook_secret", primary_key=True)
    secret = EncryptedTextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization"], name="one_webhook_secret")]

    def __str__(self) -> str:
        return "webhook secret"


class StepStatus(models.TextChoices):
    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Step(OrganizationModel):
    """One model call of a run and the tool calls it asked for. A lost attempt stays, as failed, beside the one that
    took its place."""

    id = PrefixedIdField(prefix="step", primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps", db_index=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="+", db_index=False)
    index = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=10, choices=StepStatus.choices, default=StepStatus.PENDING)
    model = models.CharField(max_length=255, blank=True)
    model_handle = models.CharField(max_length=255, blank=True)
    provider_name = models.CharField(max_length=100, blank=True)
    provider_type = models.CharField(max_length=40, blank=True)
    provider_category = models.CharField(max_length=10, blank=True)
    provider_id = models.CharField(max_length=60, blank=True)
    context_window_limit = models.PositiveIntegerField(null=True, blank=True)
    usage = models.JSONField(default=dict, help_text="Tokens by bucket, see providers.usage.")
    cost_usd = _money()
    price_source = models.CharField(max_length=60, blank=True)
    price_tier = models.CharField(
        max_length=60, blank=True, default="", db_default="", help_text="The terms whose price was used: flex, long …"
    )
    price_confidence = models.CharField(
        max_length=10, blank=True, default="", db_default="", help_text="given, own, listed, assumed or none."
    )
    stop_reason = models.CharField(max_length=50, null=True, blank=True)
    tools_used = models.JSONField(default=list)
    trace_call_id = models.CharField(max_length=40, blank=True, help_text="Id of its row in ClickHouse.")
    error_type = models.CharField(max_length=60, null=True, blank=True)
    error_data = models.JSONField(null=True, blank=True)
    feedback = models.CharField(max_length=10, null=True, blank=True)
    tags = models.JSONField(default=list)
    tid = models.CharField(
        max_length=200, null=True, blank=True, help_text="A billing transaction's, as clients set it."
    )
    started_at = models.DateTimeField()
    model_ms = models.PositiveIntegerField(null=True, blank=True)
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    tools_ms = models.PositiveIntegerField(null=True, blank=True)
    total_ms = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["run", "index", "attempt"]
        constraints = [models.UniqueConstraint(fields=["run", "index", "attempt"], name="one_step_per_attempt")]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"]),
            models.Index(fields=["agent", "-created_at"]),
            models.Index(
                fields=["organization", "-created_at"], condition=Q(feedback__isnull=False), name="steps_with_feedback"
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.index}"


class ToolExecution(models.Model):
    """A tool call that acts outside the database: written before it is made, gone when the step is committed.

    `message`: the one that asks for it; `position`: its place among that message's calls. The two are its idempotency
    key. `started_at`: empty while it waits for one before it. `result`: an item of `Message.tool_returns`, and `edits`.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+", db_index=False)
    position = models.PositiveIntegerField()
    started_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)

    class Meta:
        ordering = ["message", "position"]
        constraints = [models.UniqueConstraint(fields=["message", "position"], name="a_tool_call_is_made_once")]

    def __str__(self) -> str:
        return self.idempotency_key

    @property
    def idempotency_key(self) -> str:
        return f"{self.message_id}.{self.position}"
