"""What every wire shape has in common: its base class, its ids, its cursors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.ids import id_pattern
from core.pagination import Cursor, Order

MAX_INT = 2_147_483_647
Metadata = dict[str, Any]
Tags = list[Annotated[str, Field(max_length=200)]]

AgentId = Annotated[str, Field(pattern=id_pattern("agent"))]
BlockId = Annotated[str, Field(pattern=id_pattern("block"))]
ToolId = Annotated[str, Field(pattern=id_pattern("tool"))]
PassageId = Annotated[str, Field(pattern=id_pattern("passage"))]
ArchiveId = Annotated[str, Field(pattern=id_pattern("archive"))]
ProviderId = Annotated[str, Field(pattern=id_pattern("provider"))]
McpServerId = Annotated[str, Field(pattern=id_pattern("mcp_server"))]
ProjectId = Annotated[str, Field(pattern=id_pattern("project"))]
ConversationId = Annotated[str, Field(pattern=id_pattern("conv"))]
Label = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_/-]+$", max_length=50)]
Limit = Annotated[int, Field(ge=1, le=1000)]
PositiveInt = Annotated[int, Field(ge=1, le=MAX_INT)]
Seconds = Annotated[int, Field(ge=0, le=MAX_INT)]
APPROVAL_EXPIRES = "A request for approval that nobody answers is denied after so long; 0: never, null: by default"
Count = Annotated[int, Field(ge=-1, le=MAX_INT)]  # to compare with: "more than -1" is any


class Wire(BaseModel):
    """Unknown fields are passed over: newer SDKs send some."""

    model_config = ConfigDict(protected_namespaces=(), extra="ignore")


class Page(Wire):
    """The cursor parameters of a list. Where a list has other defaults, its class says them anew."""

    before: str | None = None
    after: str | None = None
    limit: Limit | None = 50
    order: Order = "desc"
    order_by: Literal["created_at"] = "created_at"

    def cursor(self) -> Cursor:
        return Cursor(before=self.before, after=self.after, limit=self.limit or 50, order=self.order)
