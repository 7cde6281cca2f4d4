"""MCP servers of an organization, the tools they offer, and authorizations that wait for a person."""

from __future__ import annotations

from django.db import models

from core.fields import EncryptedTextField
from core.ids import PrefixedIdField
from core.models import Audited, OrganizationModel


class ServerType(models.TextChoices):
    STDIO = "stdio", "A command on this machine"
    SSE = "sse", "SSE (HTTP, the older protocol)"
    STREAMABLE_HTTP = "streamable_http", "Streamable HTTP"


class ServerState(models.TextChoices):
    UNSEEN = "unseen", "Not asked yet"
    READY = "ready", "Answers"
    UNAUTHORIZED = "unauthorized", "Wants an authorization"
    FAILED = "failed", "Fails"


class McpServer(OrganizationModel, Audited):
    """Where a server is and how it went when it was asked last.

    `config`: JSON of what was entered for its type, encrypted as a whole: an address, a header, an argument and a
    variable may each hold a secret. `oauth`: JSON of its client registration, metadata and tokens.
    """

    id = PrefixedIdField(prefix="mcp_server", primary_key=True)
    name = models.CharField(max_length=100)
    server_type = models.CharField(max_length=20, choices=ServerType.choices)
    config = EncryptedTextField()
    oauth = EncryptedTextField(null=True, blank=True, editable=False)
    address = models.CharField(max_length=255, editable=False, help_text="Its host, or the command, for lists.")
    state = models.CharField(max_length=20, choices=ServerState.choices, default=ServerState.UNSEEN, editable=False)
    last_error = models.TextField(blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_mcp_server_per_name")]
        indexes = [models.Index(fields=["organization", "-created_at", "id"])]
        verbose_name = "MCP server"

    def __str__(self) -> str:
        return self.name


class Health(models.TextChoices):
    STRICT = "STRICT_COMPLIANT"
    LOOSE = "NON_STRICT_ONLY"
    INVALID = "INVALID"


class McpTool(models.Model):
    """What a server says of one of its tools, beside the Tool row that agents have. `name`: what the server calls it;
    the Tool's own name differs where another tool had it before."""

    server = models.ForeignKey(McpServer, on_delete=models.CASCADE, related_name="tools", db_index=False)
    tool = models.OneToOneField("agents.Tool", on_delete=models.CASCADE, related_name="mcp")
    name = models.CharField(max_length=200)
    definition = models.JSONField(
        help_text="title, description, inputSchema, outputSchema, annotations: as it was sent"
    )
    health = models.CharField(max_length=20, choices=Health.choices)
    reasons = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["server", "name"], name="one_mcp_tool_per_name")]

    def __str__(self) -> str:
        return self.name


class McpAuthorization(models.Model):
    """A person was sent to a server's authorization page; `answer` is what the browser brought back (JSON)."""

    id = PrefixedIdField(prefix="mcp-oauth", primary_key=True)
    server = models.ForeignKey(McpServer, on_delete=models.CASCADE, related_name="authorizations")
    state_hash = models.CharField(max_length=64, unique=True)
    answer = EncryptedTextField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.id
