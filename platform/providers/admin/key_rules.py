"""Whose keys an organization's calls are made with, in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from console.access import ADMINS
from console.action_form import ActionAdmin, ActionForm
from core.errors import AppError, BadInput
from providers.actions import set_rule
from providers.models import KeyRule


class RuleForm(ActionForm):
    class Meta:
        model = KeyRule
        fields = ("organization", "project", "rule")
        help_texts = {
            "rule": "Own first goes on with the installation's key of the same name or vendor when an own one is "
            "refused, out of credits, or still at its rate limit after the retries."
        }

    def act(self) -> KeyRule:
        data, adding = self.cleaned_data, self.instance._state.adding
        project = data.get("project") if adding else self.instance.project
        organization_id, project_id = self.caller.organization_id, str(project.pk) if project else ""
        if adding and KeyRule.objects.filter(organization_id=organization_id, project=project).exists():
            raise BadInput("There is a rule for this already: change that one.")
        made = set_rule(organization_id, data["rule"], project_id=project_id, actor=self.caller.user_id)
        assert made is not None  # a rule was chosen
        return made

    def field_of(self, error: AppError) -> str:
        return "project" if "project" in error.message or "already" in error.message else "rule"


@admin.register(KeyRule)
class KeyRuleAdmin(ActionAdmin):
    form = RuleForm
    write_roles = ADMINS
    list_display = ("rule_shown", "whose", "organization")
    list_display_links = ("rule_shown",)
    list_select_related = ("organization", "project")
    change_list_template = "console/list.html"
    empty_title, empty_button = "No rule is set", "Set a rule"
    empty_words = (
        "Without one, a handle means the own provider of that name, else the installation's. A rule says whose keys"
        " calls are made with: own ones only, own ones first, or the installation's only."
    )
    list_filter = ("rule",)
    search_fields = ("project__name__icontains",)
    search_help_text = "By the project's name"
    fieldsets = ((None, {"fields": ("organization", "project", "rule")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*super().get_readonly_fields(request, obj), *(("project",) if obj is not None else ()))

    @admin.display(description="rule", ordering="rule")
    def rule_shown(self, obj: KeyRule) -> str:
        return obj.get_rule_display()

    @admin.display(description="for")
    def whose(self, obj: KeyRule) -> str:
        return f"project {obj.project.name}" if obj.project else "every project without a rule of its own"

    def delete_model(self, request: HttpRequest, obj: KeyRule) -> None:
        set_rule(str(obj.organization_id), "", project_id=obj.project_id or "", actor=str(request.user.pk))
