"""Archives and the passages in them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.models import Agent, Archive, Passage
from console.admin_base import OrganizationScopedAdmin, ReadOnlyAdmin
from console.display import link, when


@admin.register(Archive)
class ArchiveAdmin(OrganizationScopedAdmin):
    list_display = ("name", "organization", "passages", "embedding", "created")
    list_select_related = ("organization",)
    search_fields = ("name__icontains",)
    search_help_text = "By name, or by id (also an agent's)"
    id_lookups = {"agent": "agents__pk"}
    ordering = ("-created_at",)
    fields = ("name", "description", "embedding", "embedding_dim", "used_by", "look")
    readonly_fields = ("embedding", "embedding_dim", "used_by", "look")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # made with the agent that first writes to it, or through the API

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        inside = Passage.objects.filter(archive=OuterRef("pk")).order_by().values("archive")
        number = Coalesce(Subquery(inside.annotate(n=Count("pk")).values("n")), 0)
        return rows.defer("metadata", "description").annotate(passage_number=number), duplicates

    @admin.display(ordering="passage_number")
    def passages(self, obj: Any) -> int:
        return int(obj.passage_number)

    @admin.display(description="used by")
    def used_by(self, obj: Archive) -> SafeString | str:
        rows = Agent.objects.filter(archives=obj).order_by("name").values_list("pk", "name")[:50]
        return format_html(" · ".join("{}" for _ in rows), *(link(str(pk), name) for pk, name in rows)) if rows else "–"

    @admin.display(description="passages")
    def look(self, obj: Archive) -> SafeString:
        return format_html('<a class="pn-link" href="../../../passage/?q={}">Look at its passages</a>', obj.pk)

    @admin.display(ordering="created_at")
    def created(self, obj: Archive) -> SafeString | str:
        return when(obj.created_at)


@admin.register(Passage)
class PassageAdmin(ReadOnlyAdmin):
    list_display = ("preview", "archive", "organization", "tag_list", "created")
    list_select_related = ("archive", "organization")
    search_fields = ("text",)
    search_help_text = "Words in the text, or an id (also an archive's)"
    id_lookups = {"archive": "archive_id"}
    ordering = ("-created_at",)
    fields = ("archive", "text", "tags", "metadata", "created")
    readonly_fields = ("created",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("embedding")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """Words go through the text index; ids and the picked organization as everywhere."""
        term = search_term.strip()
        words = "" if self._column_of(term) else term
        rows, duplicates = super().get_search_results(request, queryset, "" if words else term)
        if words:
            matches = SearchVector("text", config="simple")
            query = SearchQuery(words, config="simple", search_type="websearch")
            rows = rows.annotate(words=matches).filter(words=query)
        return rows.defer("text", "metadata", "embedding").annotate(head=Left("text", 160)), duplicates

    @admin.display(description="text")
    def preview(self, obj: Any) -> str:
        text = " ".join(obj.head.split())
        return f"{text[:110]}…" if len(text) > 110 else text

    @admin.display(description="tags")
    def tag_list(self, obj: Passage) -> str:
        return ", ".join(obj.tags) or "–"

    @admin.display(ordering="created_at")
    def created(self, obj: Passage) -> SafeString | str:
        return when(obj.created_at)
