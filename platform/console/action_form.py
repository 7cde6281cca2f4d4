"""Forms that write through an action, and show what the action refuses beside the field that it is about."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from pydantic import ValidationError as SchemaError

from accounts.access import Caller
from accounts.models import Scope
from console.admin_base import OrganizationScopedAdmin, ScopedForm
from core.errors import AppError


def caller_of(request: HttpRequest, organization_id: str) -> Caller:
    """Who an operator is to the actions; what the role allows is checked before, by the admin."""
    return Caller(organization_id, str(request.user.pk), frozenset({Scope.READ.value, Scope.WRITE.value}))


class ActionForm(ScopedForm):
    """`act` does the change and returns the row. It runs last in validation, inside the request's own transaction.

    The form's `instance` is the row as it was (its id and organization may be trusted), `cleaned_data` what is wanted.
    """

    request: ClassVar[HttpRequest]

    def act(self) -> Model:
        raise NotImplementedError

    def changed(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self.changed_data if name in self.cleaned_data}

    @property
    def caller(self) -> Caller:
        organization_id = self.instance.organization_id or self.cleaned_data["organization"].pk
        return caller_of(self.request, str(organization_id))

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            with transaction.atomic():
                self.instance = self.act()
        except SchemaError as error:
            for problem in error.errors():
                self._refuse(str(problem["loc"][0]) if problem["loc"] else "", problem["msg"])
        except AppError as error:
            self._refuse(self.field_of(error), error.message)

    def field_of(self, error: AppError) -> str:
        """The field that a refusal is about; "" for the form as a whole."""
        return ""

    def _refuse(self, field: str, message: str) -> None:
        self.add_error(field if field in self.fields else None, message)


class ActionAdmin(OrganizationScopedAdmin):
    """An admin whose form is an `ActionForm`: by the time of saving, everything has been done."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"request": request})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        return None

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        return None
