from datetime import timedelta

from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q


def date_what_waits(apps, schema_editor):
    """What waits already expires when the installation's setting says, as it would have."""
    if settings.APPROVAL_EXPIRES_S:
        waiting = apps.get_model("conversations", "Run").objects.filter(status="waiting_approval")
        waiting.update(approval_expires_at=F("completed_at") + timedelta(seconds=settings.APPROVAL_EXPIRES_S))


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0012_fork_copies"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="approval_expires_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Its request is denied then; see conversations.deadlines.",
                null=True,
            ),
        ),
        migrations.RunPython(date_what_waits, migrations.RunPython.noop, elidable=True),
        migrations.RemoveIndex(model_name="run", name="runs_awaiting_approval"),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["approval_expires_at"],
                condition=Q(status="waiting_approval", approval_expires_at__isnull=False),
                name="approvals_to_expire",
            ),
        ),
    ]
