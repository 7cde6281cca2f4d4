"""Ids as the wire shows them, `<prefix>-<uuid4>`, stored as plain uuids."""

from __future__ import annotations

import re
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def new_id(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4()}"


def id_pattern(prefix: str) -> str:
    """The regular expression of a whole id, for path parameters and bodies."""
    return rf"^{prefix}-{UUID4}$"


def is_id(prefix: str, value: str) -> bool:
    return re.match(id_pattern(prefix), value) is not None


def bare_uuid(value: str) -> str:
    """The uuid of an id with any prefix."""
    return value[-36:]


if TYPE_CHECKING:  # what is set and got is the wire id, not a UUID
    _UUIDField = models.UUIDField[str, str]
else:
    _UUIDField = models.UUIDField


class PrefixedIdField(_UUIDField):
    """A uuid column whose Python value is the wire id (`agent-<uuid>`), also through foreign keys."""

    def __init__(self, *args: Any, prefix: str, **kwargs: Any) -> None:
        self.prefix = prefix
        if kwargs.get("primary_key"):
            kwargs.setdefault("default", partial(new_id, prefix))
            kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs["prefix"] = self.prefix
        if kwargs.get("primary_key"):
            kwargs.pop("default", None)
            kwargs.pop("editable", None)
        return name, path, args, kwargs

    def from_db_value(self, value: uuid.UUID | None, expression: Any, connection: Any) -> str | None:
        return None if value is None else f"{self.prefix}-{value}"

    def to_python(self, value: Any) -> Any:
        return None if value is None else f"{self.prefix}-{self._uuid(value)}"

    def get_prep_value(self, value: Any) -> Any:
        value = models.Field.get_prep_value(self, value)
        return None if value is None else self._uuid(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return None if value is None else self._uuid(value)

    def _uuid(self, value: Any) -> uuid.UUID:
        if isinstance(value, uuid.UUID):
            return value
        try:
            return uuid.UUID(str(value).removeprefix(f"{self.prefix}-"))
        except ValueError:
            raise ValidationError(
                f"“{value}” is not an id of the form {self.prefix}-<uuid4>.", code="invalid"
            ) from None

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))
