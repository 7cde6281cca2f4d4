"""Parts of a message's content, as agent files and initial messages have them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class FilePart(BaseModel):
    """What other versions add to it is kept aside, to be counted."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class TextPart(FilePart):
    type: Literal["text"]
    text: str
    signature: str | None = None


class ImagePart(FilePart):
    type: Literal["image"]
    source: dict[str, Any]


class Base64Source(FilePart):
    type: Literal["base64"]
    data: str
    media_type: str | None = None
    detail: str | None = None


class InlineImage(FilePart):
    type: Literal["image"]
    source: Base64Source
