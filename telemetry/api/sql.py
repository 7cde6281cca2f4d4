"""SQL by `/api`, for owners and admins: the SQL console without its page."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import is_admin
from accounts.audit import Deed, note
from accounts.rest import of_organization, organization_of
from core.errors import PermissionDenied
from core.rest import Problem, read_body
from telemetry import sql_console

FAULTS = {400: Problem, 401: Problem, 403: Problem, 422: Problem, 503: Problem}


class Asked(serializers.Serializer):
    sql = serializers.CharField(max_length=sql_console.LONGEST_SQL, help_text="One SELECT in ClickHouse's SQL.")


class ColumnOut(serializers.Serializer):
    name = serializers.CharField()
    type = serializers.CharField()


class Answered(serializers.Serializer):
    columns = ColumnOut(many=True)
    rows = serializers.ListField(child=serializers.ListField())
    took_ms = serializers.IntegerField()
    cut = serializers.BooleanField(help_text=f"There were more than {sql_console.MOST_ROWS} rows.")


class Sql(APIView):
    only_reads = True

    @extend_schema(request=Asked, responses={200: Answered, **FAULTS})
    def post(self, request: Request) -> Response:
        of_organization(request, "SQL reads the whole organization's calls")
        asked = read_body(request, Asked)
        organization_id = organization_of(request)
        if organization_id is not None and not is_admin(str(request.user.pk), organization_id):
            raise PermissionDenied("SQL is for owners and admins of the organization, and for their keys.")
        answer = sql_console.ask(organization_id, asked["sql"])
        if organization_id is not None:
            after = {"sql": asked["sql"], "rows": len(answer.rows)}
            note(organization_id, str(request.user.pk), Deed(action="traces.query", after=after))
        columns = [{"name": column.name, "type": column.type} for column in answer.columns]
        rows = [[_plain(value) for value in row] for row in answer.rows]
        return Response({"columns": columns, "rows": rows, "took_ms": answer.took_ms, "cut": answer.cut})


def _plain(value: Any) -> Any:
    """Amounts as text: JSON numbers are not exact."""
    return f"{value:f}" if hasattr(value, "as_tuple") else value
