"""Members of an organization: added by email, their roles changed, the last owner never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.actions import NewMember, add_member
from accounts.models import Role, User
from console.access import OWNERS, may
from console.widgets import SecretInput


class MemberFormSet(PaginationInlineFormSet):
    def clean(self) -> None:
        super().clean()
        had = any(form.instance.pk and form.initial.get("role") == Role.OWNER for form in self.forms)
        kept = any(
            form.cleaned_data.get("role") == Role.OWNER and not form.cleaned_data.get("DELETE")
            for form in self.forms
            if hasattr(form, "cleaned_data")
        )
        if had and not kept:
            raise forms.ValidationError("An organization keeps at least one owner: make another member owner first.")


class MemberForm(forms.Form):
    email = forms.EmailField(widget=UnfoldAdminEmailInputWidget)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER, widget=UnfoldAdminSelectWidget)
    name = forms.CharField(max_length=100, required=False, widget=UnfoldAdminTextInputWidget)
    password = forms.CharField(
        required=False,
        widget=SecretInput,
        help_text="Needed for a person who has no log-in here yet: a first password, to be changed by them.",
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        email, password = data.get("email", ""), data.get("password", "")
        if email and not User.objects.filter(email__iexact=email).exists():
            if not password:
                self.add_error("password", "Nobody has this email yet: give a first password.")
            else:
                try:
                    validate_password(password)
                except forms.ValidationError as error:
                    self.add_error("password", error)
        return data


def add_member_view(model_admin: Any) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, object_id: str) -> HttpResponse:
        organization = model_admin.reach(request, object_id)
        if not may(request, OWNERS, organization.pk):
            raise PermissionDenied
        form = MemberForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            new = NewMember(data["email"], data["role"], data["name"], data["password"] or None)
            membership, created = add_member(organization, new)
            model_admin.log_change(request, organization, f"Added {membership.user.email} as {membership.role}.")
            text = "can log in with the password that you gave" if created else "is now"
            messages.success(request, f"{membership.user.email} {text}: {membership.get_role_display()}.")
            return redirect("admin:accounts_organization_change", object_id)
        context = {
            **model_admin.admin_site.each_context(request),
            "opts": model_admin.opts,
            "original": organization,
            "title": "Add a member",
            "form": form,
        }
        return TemplateResponse(request, "console/accounts/add_member.html", context)

    return view
