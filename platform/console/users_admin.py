"""People in the admin: superusers make and change them, others see those that share an organization with them."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.forms import UserChangeForm as DjangoUserChangeForm
from django.contrib.auth.models import Group
from django.db.models import Model, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.models import Membership, User
from console.access import SUPERUSERS, is_superuser, organization_ids, picked
from console.admin_base import OrganizationScopedAdmin, ScopedInline
from console.display import badge, when

if admin.site.is_registered(Group):
    admin.site.unregister(Group)  # rights come from roles in organizations, never from groups


class NewUserForm(UserCreationForm):
    class Meta(BaseUserCreationForm.Meta):
        model = User
        fields = ("email", "name")
        field_classes: ClassVar[dict[str, Any]] = {}

    def clean_email(self) -> str:
        email = self.cleaned_data["email"].lower()
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("A user with this email exists already.")
        return str(email)


class OldUserForm(UserChangeForm):
    class Meta(DjangoUserChangeForm.Meta):
        model = User
        field_classes: ClassVar[dict[str, Any]] = {}


class UserMembershipInline(ScopedInline):
    model = Membership
    write_roles = SUPERUSERS
    fields = ("organization", "role")
    autocomplete_fields = ("organization",)
    verbose_name_plural = "organizations"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("organization")
        ids = organization_ids(request)
        return rows if ids is None else rows.filter(organization__in=ids)


@admin.register(User)
class UserAdmin(OrganizationScopedAdmin, DjangoUserAdmin):  # type: ignore[misc]
    form = OldUserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    write_roles = SUPERUSERS
    list_display = ("email", "name", "organizations", "state", "seen")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email__istartswith", "name__icontains")
    search_help_text = "By the beginning of the email, or by name"
    ordering = ("email",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Times", {"fields": ("seen", "created")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2", "is_staff", "is_superuser")}),)
    readonly_fields = ("seen", "created")
    inlines = (UserMembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        memberships = Membership.objects.select_related("organization").order_by("organization__name")
        rows = User.objects.order_by("email")
        ids = organization_ids(request)
        if ids is not None:
            memberships = memberships.filter(organization__in=ids)
            mates = Membership.objects.filter(organization__in=ids).values("user_id")
            rows = rows.filter(Q(pk__in=mates) | Q(pk=request.user.pk))
        return rows.prefetch_related(Prefetch("memberships", memberships, to_attr="shown_memberships"))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        chosen = picked(request)
        if chosen:
            queryset = queryset.filter(pk__in=Membership.objects.filter(organization=chosen).values("user_id"))
        return super(OrganizationScopedAdmin, self).get_search_results(request, queryset, search_term)

    def organization_of(self, obj: Model) -> str | None:
        return None

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)  # which rows: get_queryset says

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # made inactive instead: what the user did stays

    @admin.display
    def organizations(self, obj: Any) -> str:
        shown = obj.shown_memberships
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        return ", ".join(f"{m.organization.name} ({m.role})" for m in shown[:3]) + more or "–"

    @admin.display(description="state")
    def state(self, obj: User) -> SafeString:
        if not obj.is_active:
            return badge("inactive", "bad")
        return badge("superuser", "warn") if obj.is_superuser else badge("active")

    @admin.display(description="last log-in", ordering="last_login")
    def seen(self, obj: User) -> SafeString | str:
        return when(obj.last_login) if obj.last_login else "never"

    @admin.display(ordering="created_at")
    def created(self, obj: User) -> SafeString | str:
        return when(obj.created_at)
