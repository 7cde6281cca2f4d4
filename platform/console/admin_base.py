"""The base of every admin: rows of the operator's organizations alone, changes as the role allows, no query per row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db.models import ForeignKey, Model, Q, QuerySet
from django.http import Http404, HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

from accounts.models import Organization
from console.access import (
    OPERATORS,
    READERS,
    Roles,
    is_superuser,
    may,
    organization_ids,
    picked,
    shown_organization_ids,
)
from console.paging import BoundedPaginator
from core.ids import PrefixedIdField, is_id
from core.models import Audited

PER_PAGE = 30


def scoped(rows: QuerySet[Any], ids: list[str] | None, lookup: str, *, shared: bool = False) -> QuerySet[Any]:
    """`rows` of these organizations (None: of all); with `shared`, also the rows that belong to none."""
    if ids is None:
        return rows
    wanted = Q(**{f"{lookup}__in": ids})
    return rows.filter(wanted | Q(**{f"{lookup}__isnull": True}) if shared else wanted)


class ScopedForm(forms.ModelForm):
    """Refuses a row that would point into another organization than its own."""

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        own = data.get("organization")
        organization_id = own.pk if own is not None else getattr(self.instance, "organization_id", None)
        for name, value in list(data.items()):
            other = getattr(value, "organization_id", organization_id) if isinstance(value, Model) else organization_id
            if organization_id and other and other != organization_id:
                self.add_error(name, "This belongs to another organization: choose one of the same.")
        return data


class BoundedChangeList(ChangeList):
    """Without a search or a filter the count of what is shown is the count of all: it is not counted again."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class OrganizationScopedAdmin(ModelAdmin):
    """`organization_lookup` leads from a row to its organization's id; `write_roles` may add, change and delete.

    `shared`: rows without an organization are seen by everybody and changed by superusers alone. `read_only`: nobody
    changes anything here, whatever the role.
    """

    organization_lookup: ClassVar[str] = "organization_id"
    write_roles: ClassVar[Roles] = OPERATORS
    view_roles: ClassVar[Roles] = READERS
    shared: ClassVar[bool] = False
    read_only: ClassVar[bool] = False
    keep_delete_action: ClassVar[bool] = False
    # Ids that the search box takes besides the row's own: prefix of the id to the column it stands in.
    id_lookups: ClassVar[dict[str, str]] = {}

    form = ScopedForm
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = PER_PAGE
    list_max_show_all = PER_PAGE
    list_filter_submit = True
    list_filter_sheet = True
    compressed_fields = True
    warn_unsaved_form = True

    # Scope

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        ids = organization_ids(request, self.view_roles)
        return scoped(super().get_queryset(request), ids, self.organization_lookup, shared=self.shared)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Lists, their actions and autocompletes all pass here: the picked organization narrows them."""
        chosen = picked(request)
        if chosen:
            queryset = scoped(queryset, [chosen], self.organization_lookup, shared=self.shared)
        term = search_term.strip()
        column = self._column_of(term)
        if column:
            return queryset.filter(**{column: term}), False
        return super().get_search_results(request, queryset, search_term)

    def _column_of(self, term: str) -> str:
        """The column that holds ids like this one; "" for a term that is no id."""
        prefix = term.partition("-")[0]
        own = isinstance(self.opts.pk, PrefixedIdField) and self.opts.pk.prefix == prefix
        column = "pk" if own else self.id_lookups.get(prefix, "")
        return column if column and is_id(prefix, term) else ""

    def organization_of(self, obj: Model) -> str | None:
        value: Any = obj
        for step in self.organization_lookup.split("__"):
            value = getattr(value, step, None)
        return None if value is None else str(value)

    def get_list_display(self, request: HttpRequest) -> Any:
        """The column of organizations goes where all rows are of one."""
        columns = super().get_list_display(request)
        ids = shown_organization_ids(request)
        return [name for name in columns if name != "organization"] if ids is not None and len(ids) == 1 else columns

    # What the role allows

    def _may_write(self, request: HttpRequest, obj: Model | None) -> bool:
        if self.read_only:
            return False
        if not isinstance(obj, Model):
            return may(request, self.write_roles)
        organization_id = self.organization_of(obj)
        return is_superuser(request) if organization_id is None else may(request, self.write_roles, organization_id)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request, self.view_roles)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not isinstance(obj, Model):
            return may(request, self.view_roles)
        organization_id = self.organization_of(obj)
        return self.shared if organization_id is None else may(request, self.view_roles, organization_id)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may_write(request, None)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_write(request, obj)

    def reach(self, request: HttpRequest, object_id: str, *, write: bool = False) -> Any:
        """The row that a page or button of its own stands for. Raises Http404 or PermissionDenied."""
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_view_permission(request, obj):
            raise Http404("There is no such row in your organizations.")
        if write and not self.has_change_permission(request, obj):
            raise PermissionDenied
        return obj

    # Forms

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        related = db_field.remote_field.model
        if related is Organization:
            rows = Organization.objects.all()
            ids = organization_ids(request, self.write_roles)
            kwargs["queryset"] = rows if ids is None else rows.filter(pk__in=ids)
        else:
            other = self.admin_site._registry.get(related)
            if isinstance(other, OrganizationScopedAdmin):
                kwargs["queryset"] = other.get_queryset(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget  # no buttons that open the related row in a pop-up
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        ids = organization_ids(request, self.write_roles)
        if ids is None:  # a superuser: of one organization there is nothing to choose
            ids = [str(pk) for pk in Organization.objects.values_list("pk", flat=True)[:2]]
        chosen = picked(request) or (ids[0] if len(ids) == 1 else None)
        return {"organization": chosen, **initial} if chosen else initial

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        moved = obj is not None and hasattr(obj, "organization_id")
        return (*fields, "organization") if moved else fields  # a row never moves to another organization

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if isinstance(obj, Audited):
            obj.last_updated_by_id = str(request.user.pk)
            obj.created_by_id = obj.created_by_id if change else str(request.user.pk)
        super().save_model(request, obj, form, change)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        names = ("object_id", "form_url", "extra_context")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        extra = {"show_save_and_add_another": False, **(given.pop("extra_context", None) or {})}
        return super().changeform_view(request, extra_context=extra, **given)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return BoundedChangeList

    # Deletion

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        if not self.keep_delete_action:
            actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        """Names what is deleted, but does not walk the tree below it: that can be a million rows."""
        rows = list(objs)
        refused = {str(self.opts.verbose_name) for obj in rows if not self.has_delete_permission(request, obj)}
        named = [f"{str(self.opts.verbose_name).capitalize()}: {obj}, and all that belongs to it" for obj in rows]
        return named, {str(self.opts.verbose_name_plural): len(rows)}, refused, []


class ReadOnlyAdmin(OrganizationScopedAdmin):
    """What happened is looked at, never edited."""

    read_only = True
    actions = None


class ScopedInline(TabularInline):
    """Rows inside their parent's page: as the role in the parent's organization allows."""

    write_roles: ClassVar[Roles] = OPERATORS
    read_only: ClassVar[bool] = False
    extra = 0
    show_change_link = False

    def organization_of_parent(self, parent: Model) -> str:
        return str(parent.pk if isinstance(parent, Organization) else getattr(parent, "organization_id", ""))

    def _may_write(self, request: HttpRequest, parent: Model | None) -> bool:
        if self.read_only or not isinstance(parent, Model):
            return not self.read_only and may(request, self.write_roles)
        return may(request, self.write_roles, self.organization_of_parent(parent))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request, READERS)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_write(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may_write(request, obj)
