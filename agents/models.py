"""Who an agent is: its prompt, memory blocks, tools and archives."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from pgvector.django import VectorField

from agents.mcp import models as _mcp_models  # noqa: F401 - Django looks for tables here
from core.fields import EncryptedTextField
from core.ids import PrefixedIdField
from core.models import Audited, OrganizationModel, TimeStamped
from core.secrets import Secret

DEFAULT_BLOCK_LIMIT = 100_000
DEFAULT_RETURN_CHAR_LIMIT = 50_000
TEMPLATE_IDS = ("template_id", "base_template_id", "deployment_id", "entity_id", "preserve_on_migration")


def _approval_expiry(otherwise: str) -> models.PositiveIntegerField[Any, Any]:
    return models.PositiveIntegerField(
        "approvals expire after",
        null=True,
        blank=True,
        help_text="Seconds after which a request for approval that nobody answers is denied. 0: never. "
        f"Empty: as {otherwise} says.",
    )


def _strings() -> ArrayField:
    return ArrayField(models.CharField(max_length=200), default=list, blank=True)


class AgentType(models.TextChoices):
    LETTA_V1 = "letta_v1_agent"
    MEMGPT = "memgpt_agent"
    MEMGPT_V2 = "memgpt_v2_agent"
    REACT = "react_agent"
    WORKFLOW = "workflow_agent"
    SPLIT_THREAD = "split_thread_agent"
    SLEEPTIME = "sleeptime_agent"
    VOICE_CONVO = "voice_convo_agent"
    VOICE_SLEEPTIME = "voice_sleeptime_agent"


class Agent(OrganizationModel, Audited):
    """An agent with memory.

    `prompt_version` grows with every change that its compiled system prompt must show; a conversation recompiles when
    the version it was compiled at is older. `model_settings`, `compaction_settings`, `tool_rules` and
    `response_format` are kept as the wire has them, validated on the way in.
    """

    id = PrefixedIdField(prefix="agent", primary_key=True)
    project = models.ForeignKey("accounts.Project", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=100)
    agent_type = models.CharField(max_length=30, choices=AgentType.choices, default=AgentType.LETTA_V1)
    description = models.TextField(null=True, blank=True)
    system = models.TextField(blank=True)
    model = models.CharField(max_length=255, help_text="Handle: provider/model")
    model_settings = models.JSONField(default=dict, blank=True)
    context_window_limit = models.PositiveIntegerField(null=True, blank=True)
    embedding = models.CharField(max_length=255, null=True, blank=True, help_text="Handle: provider/model")
    compaction_settings = models.JSONField(null=True, blank=True)
    response_format = models.JSONField(null=True, blank=True)
    tool_rules = models.JSONField(default=list, blank=True)
    tags = _strings()
    metadata = models.JSONField(null=True, blank=True)
    timezone = models.CharField(max_length=60, default="UTC")
    message_buffer_autoclear = models.BooleanField(default=False)
    hidden = models.BooleanField(null=True, blank=True)
    enable_sleeptime = models.BooleanField(null=True, blank=True)
    max_files_open = models.PositiveIntegerField(null=True, blank=True)
    per_file_view_window_char_limit = models.PositiveIntegerField(null=True, blank=True)
    approval_expires_s = _approval_expiry("the installation")
    prompt_version = models.PositiveIntegerField(default=1, editable=False)
    last_run_completion = models.DateTimeField(null=True, blank=True, editable=False)
    last_run_duration_ms = models.PositiveIntegerField(null=True, blank=True, editable=False)
    last_stop_reason = models.CharField(max_length=50, null=True, blank=True, editable=False)
    blocks: models.ManyToManyField[Block, AgentBlock] = models.ManyToManyField(
        "Block", through="AgentBlock", related_name="agents"
    )
    tools: models.ManyToManyField[Tool, AgentTool] = models.ManyToManyField(
        "Tool", through="AgentTool", related_name="agents"
    )
    archives: models.ManyToManyField[Archive, Any] = models.ManyToManyField(
        "Archive", related_name="agents", blank=True
    )

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"]),
            models.Index(fields=["organization", "-updated_at", "id"]),
            models.Index(fields=["organization", "-last_run_completion", "id"]),
            models.Index(fields=["organization", "name"]),
            GinIndex(fields=["tags"]),
        ]

    def __str__(self) -> str:
        return self.name


class Block(OrganizationModel, Audited):
    """A labelled piece of memory that stands in the prompt of every agent it is attached to."""

    id = PrefixedIdField(prefix="block", primary_key=True)
    project = models.ForeignKey("accounts.Project", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    label = models.CharField(max_length=50)
    description = models.TextField(null=True, blank=True)
    value = models.TextField(blank=True)
    limit = models.PositiveIntegerField(default=DEFAULT_BLOCK_LIMIT, help_text="Characters that the value may have.")
    read_only = models.BooleanField(default=False, help_text="The agent may not change it.")
    metadata = models.JSONField(default=dict, blank=True)
    tags = _strings()
    hidden = models.BooleanField(null=True, blank=True)
    is_template = models.BooleanField(default=False)
    template_name = models.CharField(max_length=100, null=True, blank=True)
    template_ids = models.JSONField(
        default=dict, db_default={}, blank=True, help_text="As clients set them: see TEMPLATE_IDS."
    )
    version = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        ordering = ["label", "created_at"]
        indexes = [
            models.Index(fields=["organization", "created_at", "id"]),
            models.Index(fields=["organization", "label"]),
            GinIndex(fields=["tags"]),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({len(self.value)} of {self.limit} characters)"


class RevisionActor(models.TextChoices):
    API = "api", "API"
    AGENT = "agent", "The agent itself, by a tool"
    OPERATOR = "operator", "An operator, in the admin"


class BlockRevision(models.Model):
    """What a block was at each of its versions: who changed it, and why."""

    block = models.ForeignKey(Block, on_delete=models.CASCADE, related_name="revisions")
    version = models.PositiveIntegerField()
    value = models.TextField(blank=True)
    description = models.TextField(null=True, blank=True)
    label = models.CharField(max_length=50)
    limit = models.PositiveIntegerField()
    actor = models.CharField(max_length=10, choices=RevisionActor.choices)
    actor_id = models.CharField(max_length=60, blank=True, help_text="Id of the user, or of the agent.")
    reason = models.CharField(max_length=200, blank=True, help_text="The tool or action that made the change.")
    run_id = models.CharField(max_length=60, blank=True)
    step_id = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["block", "version"], name="one_revision_per_version")]

    def __str__(self) -> str:
        return f"version {self.version}"


class AgentBlock(models.Model):
    """A block's place in an agent. The label stands here too, so that it is unique per agent."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE)
    block = models.ForeignKey(Block, on_delete=models.CASCADE)
    label = models.CharField(max_length=50)
    attached_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["agent", "label"], name="one_block_per_label"),
            models.UniqueConstraint(fields=["agent", "block"], name="block_attached_once"),
        ]

    def __str__(self) -> str:
        return self.label


class ConversationBlock(models.Model):
    """A block that one conversation has to itself: there it stands in for the agent's block of the same label."""

    conversation = models.ForeignKey("conversations.Conversation", on_delete=models.CASCADE, related_name="own_blocks")
    block = models.OneToOneField(Block, on_delete=models.CASCADE)
    label = models.CharField(max_length=50)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "label"], name="one_own_block_per_label"),
        ]

    def __str__(self) -> str:
        return self.label


class ToolType(models.TextChoices):
    CUSTOM = "custom"
    CORE = "letta_core"
    MEMORY_CORE = "letta_memory_core"
    MULTI_AGENT_CORE = "letta_multi_agent_core"
    SLEEPTIME_CORE = "letta_sleeptime_core"
    VOICE_SLEEPTIME_CORE = "letta_voice_sleeptime_core"
    BUILTIN = "letta_builtin"
    FILES_CORE = "letta_files_core"
    EXTERNAL_MCP = "external_mcp"


class Tool(TimeStamped, Audited):
    """A function that a model may call. Base tools belong to no organization and are seen by all."""

    id = PrefixedIdField(prefix="tool", primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    project = models.ForeignKey("accounts.Project", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=100)
    tool_type = models.CharField(max_length=40, choices=ToolType.choices, default=ToolType.CUSTOM)
    description = models.TextField(null=True, blank=True)
    json_schema = models.JSONField(help_text="OpenAI function schema: name, description, parameters")
    args_json_schema = models.JSONField(null=True, blank=True)
    source_type = models.CharField(max_length=20, null=True, blank=True, default="python")
    source_code = models.TextField(null=True, blank=True)
    tags = _strings()
    return_char_limit = models.PositiveIntegerField(default=DEFAULT_RETURN_CHAR_LIMIT)
    pip_requirements = models.JSONField(null=True, blank=True)
    npm_requirements = models.JSONField(null=True, blank=True)
    default_requires_approval = models.BooleanField(null=True, blank=True)
    approval_expires_s = _approval_expiry("the agent")
    enable_parallel_execution = models.BooleanField(default=False)
    network = models.BooleanField(
        default=False, db_default=False, help_text="In the sandbox it may reach public addresses, by HTTP and HTTPS."
    )
    client = models.BooleanField(
        "client of this server",
        default=False,
        db_default=False,
        help_text="In the sandbox it may use this server's API, in its agent's name: all that the organization has.",
    )
    timeout_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Seconds that a call may take in the sandbox; empty: the server's limit.",
    )
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="one_tool_per_name", nulls_distinct=False)
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"]),
            GinIndex(fields=["tags"]),
            GinIndex(SearchVector("name", "description", config="english"), name="tool_text"),
        ]

    def __str__(self) -> str:
        return self.name


class ToolVector(models.Model):
    """What a tool is for, as a vector of the embedding model `model`; of base tools, each organization has its own.

    `made_at`: the tool's `updated_at` then; where they differ, it is made anew before it is searched.
    """

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    tool = models.ForeignKey(Tool, on_delete=models.CASCADE, related_name="vectors")
    model = models.CharField(max_length=255, help_text="Handle: provider/model")
    made_at = models.DateTimeField()
    dim = models.PositiveIntegerField()
    embedding = VectorField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "tool"], name="one_vector_per_tool")]

    def __str__(self) -> str:
        return f"{self.tool_id} by {self.model}"


class AgentTool(models.Model):
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE)
    tool = models.ForeignKey(Tool, on_delete=models.CASCADE)
    requires_approval = models.BooleanField(null=True, blank=True)
    attached_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "tool"], name="tool_attached_once")]

    def __str__(self) -> str:
        return str(self.tool)


class AgentVariable(TimeStamped, Audited):
    """A secret that an agent's tools find among their environment variables."""

    id = PrefixedIdField(prefix="agent-env", primary_key=True)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="variables", db_index=False)
    key = models.CharField(max_length=200)
    value: models.Field[str | Secret, Secret] = EncryptedTextField()
    description = models.TextField(null=True, blank=True)

    class Meta:
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["agent", "key"], name="one_variable_per_name")]

    def __str__(self) -> str:
        return self.key


class Archive(OrganizationModel, Audited):
    """A store of passages that agents search by meaning. Its embedding model never changes."""

    id = PrefixedIdField(prefix="archive", primary_key=True)
    name = models.CharField(max_length=200)
    description = models.TextField(null=True, blank=True)
    embedding = models.CharField(max_length=255, null=True, blank=True, help_text="Handle; empty: text search only")
    embedding_dim = models.PositiveIntegerField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["organization", "-created_at", "id"])]

    def __str__(self) -> str:
        return self.name


class Passage(OrganizationModel, Audited):
    """A piece of archival memory, with its embedding where the archive has an embedding model."""

    id = PrefixedIdField(prefix="passage", primary_key=True)
    archive = models.ForeignKey(Archive, on_delete=models.CASCADE, related_name="passages", db_index=False)
    text = models.TextField()
    embedding = VectorField(null=True, blank=True, editable=False)
    tags = _strings()
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["archive", "created_at", "id"]),
            models.Index(fields=["organization"]),
            GinIndex(fields=["tags"]),
            GinIndex(SearchVector("text", config="simple"), name="passage_text"),
        ]

    def __str__(self) -> str:
        return self.text[:80]
