"""What usage can be asked by: one name each, and how it is read from a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dimension:
    """`column` of the tables, "" stands for "none". A list has each value once, and each counts. Flags are "true"
    and "false"; `true_if`: of the column, as SQL.
    """

    name: str
    label: str
    column: str
    is_list: bool = False
    is_flag: bool = False
    true_if: str = "= 1"

    @property
    def true(self) -> str:
        return f"t.{self.column} {self.true_if}"

    @property
    def value(self) -> str:
        """As SQL, of a table called t."""
        if self.is_list:
            return f"arrayJoin(if(empty(t.{self.column}), [''], t.{self.column}))"
        if self.is_flag:
            return f"if({self.true}, 'true', 'false')"
        return f"t.{self.column}"

    def condition(self, parameter: str) -> str:
        """As SQL: one of the values of the parameter, which the server binds."""
        values = f"{{{parameter}:Array(String)}}"
        if self.is_list:
            return f"if(has({values}, '') AND empty(t.{self.column}), 1, hasAny(t.{self.column}, {values}))"
        return f"{self.value if self.is_flag else f't.{self.column}'} IN {values}"


_ALL = (
    Dimension("organization", "Organization", "organization_id"),
    Dimension("project", "Project", "project_id"),
    Dimension("agent", "Agent", "agent_id"),
    Dimension("tag", "Tag", "agent_tags", is_list=True),
    Dimension("model", "Model", "model"),
    Dimension("provider", "Provider", "provider"),
    Dimension("provider_name", "Provider's name", "provider_name"),
    Dimension("provider_key", "Provider key", "provider_key_id"),
    Dimension("api_key", "API key", "api_key_id"),
    Dimension("end_user", "End user", "identity_id"),
    Dimension("call_type", "Call type", "call_type"),
    Dimension("is_byok", "BYOK", "is_byok", is_flag=True),
    Dimension("error_type", "Error type", "error_type"),
    Dimension("is_error", "Failed", "error_type", is_flag=True, true_if="!= ''"),
    Dimension("price_source", "Price source", "price_source"),
    Dimension("finish_reason", "Finish reason", "finish_reason"),
    Dimension("plan", "Billing plan", "billing_plan_type"),
    Dimension("customer", "Billed customer", "billing_customer_id"),
    Dimension("conversation", "Conversation", "conversation_id"),
)
DIMENSIONS = {dimension.name: dimension for dimension in _ALL}
