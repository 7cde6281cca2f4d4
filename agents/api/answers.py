"""Answers as bytes: what is made from our own shapes is not validated a second time on its way out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from django.http import HttpResponse
from pydantic import BaseModel

JSON = "application/json"


def answer(shape: BaseModel) -> HttpResponse:
    return HttpResponse(shape.model_dump_json(), content_type=JSON)


def answer_list(shapes: Iterable[BaseModel]) -> HttpResponse:
    return HttpResponse("[" + ",".join(shape.model_dump_json() for shape in shapes) + "]", content_type=JSON)


def answer_plain(value: Any) -> HttpResponse:
    """Of numbers, texts, null and plain collections."""
    return HttpResponse(orjson.dumps(value), content_type=JSON)
