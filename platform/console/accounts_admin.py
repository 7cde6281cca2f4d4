"""Organizations, projects and API keys in the admin."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.actions import NewKey, create_api_key, delete_organization, revoke_api_key
from accounts.models import ApiKey, Membership, Organization, Project, Scope, User, all_scopes
from console import shown_once
from console.access import ADMINS, OWNERS, is_superuser, may
from console.admin_base import OrganizationScopedAdmin, ScopedForm, ScopedInline
from console.display import badge, when
from console.members import MemberFormSet, add_member_view
from console.registry import register_names


class MembershipInline(ScopedInline):
    model = Membership
    formset = MemberFormSet
    write_roles = OWNERS
    fields = ("user", "role")
    readonly_fields = ("user",)
    verbose_name_plural = "members"
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # by email, on a page of its own

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user").order_by("user__email")


@admin.register(Organization)
class OrganizationAdmin(OrganizationScopedAdmin):
    organization_lookup = "pk"
    write_roles = ADMINS
    list_display = ("name", "members", "keys", "created")
    search_fields = ("name",)
    search_help_text = "By name"
    ordering = ("name",)
    fields = ("name",)
    inlines = (MembershipInline,)
    change_form_outer_after_template = "console/accounts/members.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        members = Membership.objects.filter(organization=OuterRef("pk")).order_by().values("organization")
        keys = ApiKey.objects.filter(organization=OuterRef("pk"), revoked_at=None).order_by().values("organization")
        counted = rows.annotate(
            member_count=Coalesce(Subquery(members.annotate(n=Count("pk")).values("n")), 0),
            key_count=Coalesce(Subquery(keys.annotate(n=Count("pk")).values("n")), 0),
        )
        return counted, duplicates

    @admin.display(ordering="member_count")
    def members(self, obj: Any) -> int:
        return int(obj.member_count)

    @admin.display(description="active keys", ordering="key_count")
    def keys(self, obj: Any) -> int:
        return int(obj.key_count)

    @admin.display(ordering="created_at")
    def created(self, obj: Organization) -> SafeString | str:
        return when(obj.created_at)

    def delete_model(self, request: HttpRequest, obj: Organization) -> None:
        delete_organization(obj, str(request.user.pk))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_superuser(request)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        owner = may(request, OWNERS, object_id)
        return super().change_view(request, object_id, form_url, {"may_add_members": owner, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(add_member_view(self))
        return [path("<path:object_id>/members/add/", view, name="accounts_add_member"), *super().get_urls()]


@admin.register(Project)
class ProjectAdmin(OrganizationScopedAdmin):
    write_roles = ADMINS
    list_display = ("name", "organization", "created")
    list_select_related = ("organization",)
    search_fields = ("name",)
    search_help_text = "By name"
    ordering = ("name",)
    fields = ("organization", "name")

    @admin.display(ordering="created_at")
    def created(self, obj: Project) -> SafeString | str:
        return when(obj.created_at)


class ApiKeyForm(ScopedForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        initial=all_scopes,
        help_text="What requests with this key may do.",
    )

    class Meta:
        model = ApiKey
        fields = ("organization", "name", "project", "scopes", "expires_at")

    def clean_expires_at(self) -> Any:
        at = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise forms.ValidationError("This is in the past: choose a time to come, or leave it empty.")
        return at


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        if self.value() == "revoked":
            return queryset.filter(revoked_at__isnull=False)
        if self.value() == "expired":
            return queryset.filter(revoked_at=None, expires_at__lte=now)
        if self.value() == "active":
            return queryset.filter(revoked_at=None).exclude(expires_at__lte=now)
        return queryset


def state_of(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= timezone.now() else "active"


@admin.register(ApiKey)
class ApiKeyAdmin(OrganizationScopedAdmin):
    form = ApiKeyForm
    write_roles = ADMINS
    list_display = ("name", "key", "state", "organization", "project", "scope_names", "last_used", "expires", "created")
    list_select_related = ("organization", "project", "user")
    list_filter = (StateFilter,)
    search_fields = ("name__icontains", "prefix__startswith")
    search_help_text = "By name, or by the key's prefix (the part after pn_)"
    autocomplete_fields = ("project",)
    actions = ("revoke_selected",)
    change_form_outer_before_template = "console/accounts/key.html"
    add_fieldsets = ((None, {"fields": ("organization", "name", "project", "scopes", "expires_at")}),)
    fieldsets = (
        (None, {"fields": ("name", "project", "scopes", "expires_at")}),
        ("Use", {"fields": ("organization", "key", "state", "user", "last_used", "created", "revoked")}),
    )
    readonly_fields = ("key", "state", "user", "last_used", "created", "revoked")

    @admin.display(description="key")
    def key(self, obj: ApiKey) -> str:
        return obj.masked

    @admin.display(description="state")
    def state(self, obj: ApiKey) -> SafeString:
        return badge(state_of(obj))

    @admin.display(description="scopes")
    def scope_names(self, obj: ApiKey) -> str:
        return ", ".join(obj.scopes)

    @admin.display(ordering="last_used_at")
    def last_used(self, obj: ApiKey) -> SafeString | str:
        return when(obj.last_used_at) if obj.last_used_at else "never"

    @admin.display(ordering="expires_at")
    def expires(self, obj: ApiKey) -> SafeString | str:
        return when(obj.expires_at) if obj.expires_at else "never"

    @admin.display(ordering="created_at")
    def created(self, obj: ApiKey) -> SafeString | str:
        return when(obj.created_at)

    @admin.display
    def revoked(self, obj: ApiKey) -> SafeString | str:
        return when(obj.revoked_at)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # revoked instead: what a key did stays explained

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        new = NewKey(obj.name, obj.scopes, obj.project, obj.expires_at)
        key, secret = create_api_key(obj.organization, cast(User, request.user), new)
        obj.pk = key.pk
        obj.refresh_from_db()
        shown_once.keep(request, key.pk, secret)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return redirect("admin:accounts_apikey_created", obj.pk)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/created/", view(self.created_view), name="accounts_apikey_created"),
            path("<path:object_id>/revoke/", view(require_POST(self.revoke_view)), name="accounts_apikey_revoke"),
            *super().get_urls(),
        ]

    def created_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.reach(request, object_id)
        secret = shown_once.take(request, key.pk)
        if secret is None:
            messages.info(request, "A key is shown only once. If you have lost it, revoke it and create another.")
            return redirect("admin:accounts_apikey_change", object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": key,
            "title": "Your new API key",
            "secret": secret,
            "base_url": request.build_absolute_uri("/").rstrip("/"),
        }
        return never_cache(lambda r: TemplateResponse(r, "console/accounts/key_created.html", context))(request)

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.reach(request, object_id, write=True)
        revoke_api_key(key)
        self.log_change(request, key, "Revoked.")
        messages.success(request, f"{key.name} is revoked: requests with it are refused from now on.")
        return redirect(reverse("admin:accounts_apikey_change", args=[object_id]))

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        keys = [key for key in queryset if self.has_change_permission(request, key)]
        for key in keys:
            revoke_api_key(key)
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"{len(keys)} revoked.", messages.SUCCESS)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        key = self.get_object(request, object_id)
        extra = {"may_revoke": key is not None and not key.revoked_at and self.has_change_permission(request, key)}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})


def _organization_names(ids: Any) -> dict[str, str]:
    return {str(pk): name for pk, name in Organization.objects.filter(pk__in=list(ids)).values_list("pk", "name")}


def _project_names(ids: Any) -> dict[str, str]:
    return {str(pk): name for pk, name in Project.objects.filter(pk__in=list(ids)).values_list("pk", "name")}


def _key_names(ids: Any) -> dict[str, str]:
    return {str(pk): name for pk, name in ApiKey.objects.filter(pk__in=list(ids)).values_list("pk", "name")}


register_names("org", _organization_names)
register_names("project", _project_names)
register_names("key", _key_names)
