"""The file of an export as an HTTP answer, for the admin and for `/api`."""

from __future__ import annotations

from django.http import FileResponse

from telemetry.exports import actions
from telemetry.models.export import Export


def file_response(export: Export) -> FileResponse:
    """Raises Conflict, NotFound."""
    name = f"traces-{export.created_at:%Y-%m-%d-%H%M}.{export.format}"
    response = FileResponse(actions.opened(export), as_attachment=True, filename=name)
    response["Cache-Control"] = "no-store"
    return response
