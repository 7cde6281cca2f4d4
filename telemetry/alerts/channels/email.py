"""Messages by email, over the mail server of the settings."""

from __future__ import annotations

import re
from smtplib import SMTPException

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from core.errors import Invalid
from core.outbound import NotDelivered
from telemetry.alerts.channels.base import Channel, Target
from telemetry.alerts.messages import Message

MOST_ADDRESSES = 20
NO_SERVER = "No mail server is set: give EMAIL_URL, then restart the worker."


class EmailChannel(Channel):
    address_label = "Email addresses"
    address_help = "With commas between."

    def clean(self, address: str) -> str:
        found = _split(address)
        if not 1 <= len(found) <= MOST_ADDRESSES:
            raise Invalid(f"Enter between 1 and {MOST_ADDRESSES} email addresses, with commas between.")
        for one in found:
            try:
                validate_email(one)
            except ValidationError:
                raise Invalid(f"“{one[:80]}” is no email address.") from None
        return ", ".join(found)

    def shown(self, address: str) -> str:
        return address[:200]

    def send(self, target: Target, message: Message) -> str:
        to = _split(target.address)
        send_mail(to, message.title, text_of(message))
        return f"taken by the mail server, for {len(to)} address{'es' if len(to) > 1 else ''}"


def send_mail(to: list[str], subject: str, body: str) -> None:
    """Raises NotDelivered."""
    if not settings.EMAIL_URL:
        raise NotDelivered(NO_SERVER)
    one_line = " ".join(subject.split())[:200]
    try:
        EmailMessage(f"[Perennial] {one_line}", body, to=to).send()
    except (SMTPException, OSError) as error:
        # The server's words may hold addresses, never the password.
        raise NotDelivered(f"The mail server did not take it: {str(error)[:300] or type(error).__name__}") from error


def text_of(message: Message) -> str:
    facts = "\n".join(f"{label}: {value}" for label, value in message.facts)
    return "\n\n".join(part for part in (message.body, facts, message.url, message.at) if part)


def _split(address: str) -> list[str]:
    return [one for one in re.split(r"[,;\s]+", address.strip()) if one]
