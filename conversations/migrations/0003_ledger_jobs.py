import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_audit_entry"),
        ("conversations", "0002_step_price_details"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerAudit",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("id", core.ids.PrefixedIdField(prefix="ledger_audit", primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("checked_at", models.DateTimeField()),
                ("calls", models.PositiveBigIntegerField(default=0)),
                ("steps", models.PositiveBigIntegerField(default=0)),
                ("mismatch_count", models.PositiveBigIntegerField(default=0)),
                ("mismatches", models.JSONField(default=list, help_text="The first ones: kind, id and what is wrong.")),
                (
                    "unchecked",
                    models.JSONField(
                        default=dict, help_text="Why a part could not be checked, and for how many calls."
                    ),
                ),
                ("problem", models.CharField(blank=True, help_text="Why there is no result.", max_length=300)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "organization"],
                "indexes": [models.Index(fields=["-day"], name="ledger_audits_by_day")],
                "constraints": [models.UniqueConstraint(fields=("organization", "day"), name="one_ledger_audit_a_day")],
            },
        ),
        migrations.CreateModel(
            name="Repricing",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("id", core.ids.PrefixedIdField(prefix="repricing", primary_key=True, serialize=False)),
                ("start", models.DateField()),
                ("end", models.DateField(help_text="The last day, itself included.")),
                ("model", models.CharField(blank=True, max_length=255)),
                ("only_unpriced", models.BooleanField(default=False)),
                ("reason", models.CharField(max_length=500)),
                ("actor_id", models.CharField(blank=True, max_length=60)),
                ("price_data", models.CharField(blank=True, max_length=60)),
                ("after_ms", models.BigIntegerField(default=0)),
                ("after_id", models.CharField(blank=True, max_length=64)),
                ("seen", models.PositiveBigIntegerField(default=0)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "result",
                    models.JSONField(default=list, help_text="By model: calls, and their cost before and after."),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "indexes": [models.Index(fields=["organization", "-created_at"], name="repricings_of_organization")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at", None)),
                        fields=("organization",),
                        name="one_repricing_at_a_time",
                    )
                ],
            },
        ),
    ]
