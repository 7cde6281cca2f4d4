import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import core.fields
import core.ids
import core.time


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0002_stored_traces"), ("accounts", "0002_audit_entry")]

    operations = [
        migrations.CreateModel(
            name="AlertChannel",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("created_by_id", models.CharField(blank=True, editable=False, max_length=60, null=True)),
                ("last_updated_by_id", models.CharField(blank=True, editable=False, max_length=60, null=True)),
                ("id", core.ids.PrefixedIdField(prefix="channel", primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("email", "Email"), ("slack", "Slack"), ("webhook", "Webhook, signed")], max_length=20
                    ),
                ),
                ("address", core.fields.EncryptedTextField()),
                (
                    "shown",
                    models.CharField(
                        blank=True, editable=False, help_text="Masked.", max_length=200, verbose_name="address"
                    ),
                ),
                ("secret", core.fields.EncryptedTextField(editable=False, null=True)),
                (
                    "topics",
                    models.JSONField(
                        blank=True, default=list, help_text="What it is told beside the rules that name it: budget …"
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("failures", models.PositiveIntegerField(default=0, editable=False, help_text="In a row.")),
                ("last_error", models.CharField(blank=True, editable=False, max_length=500)),
                ("last_error_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("last_sent_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "disabled_at",
                    models.DateTimeField(blank=True, editable=False, help_text="After too many failures.", null=True),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Empty: the whole installation.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("created_by_id", models.CharField(blank=True, editable=False, max_length=60, null=True)),
                ("last_updated_by_id", models.CharField(blank=True, editable=False, max_length=60, null=True)),
                ("id", core.ids.PrefixedIdField(prefix="alert", primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("threshold", "Threshold: compare with fixed values"),
                            ("anomaly", "Anomaly: compare with the same hour of the past 4 weeks"),
                        ],
                        default="threshold",
                        max_length=20,
                    ),
                ),
                ("metric", models.CharField(max_length=40)),
                ("filters", models.JSONField(blank=True, default=dict, help_text="Dimension to value.")),
                (
                    "group_by",
                    models.CharField(blank=True, help_text="Each group has a state of its own.", max_length=40),
                ),
                (
                    "window_minutes",
                    models.PositiveIntegerField(
                        choices=[
                            (5, "5 minutes"),
                            (15, "15 minutes"),
                            (30, "30 minutes"),
                            (60, "1 hour"),
                            (180, "3 hours"),
                            (360, "6 hours"),
                            (720, "12 hours"),
                            (1440, "1 day"),
                            (10080, "7 days"),
                            (43200, "30 days"),
                        ],
                        default=60,
                        verbose_name="window",
                    ),
                ),
                (
                    "operator",
                    models.CharField(
                        choices=[("gt", "above"), ("gte", "at or above"), ("lt", "below"), ("lte", "at or below")],
                        default="gt",
                        max_length=3,
                    ),
                ),
                ("warning", models.DecimalField(blank=True, decimal_places=12, max_digits=30, null=True)),
                ("alert", models.DecimalField(blank=True, decimal_places=12, max_digits=30, null=True)),
                (
                    "spread",
                    models.CharField(
                        choices=[("times", "times the median"), ("deviations", "deviations (MAD) from the median")],
                        default="times",
                        max_length=20,
                    ),
                ),
                ("minimum_value", models.DecimalField(blank=True, decimal_places=12, max_digits=30, null=True)),
                ("minimum_calls", models.PositiveIntegerField(default=0)),
                (
                    "no_data",
                    models.CharField(
                        choices=[
                            ("keep", "Keep the state"),
                            ("ok", "Count it as OK"),
                            ("no_data", "Go to “No data”, and say so"),
                            ("alert", "Alert"),
                        ],
                        default="keep",
                        max_length=10,
                    ),
                ),
                (
                    "reminder_minutes",
                    models.PositiveIntegerField(
                        choices=[
                            (0, "Never: say it once"),
                            (15, "Every 15 minutes"),
                            (60, "Every hour"),
                            (240, "Every 4 hours"),
                            (1440, "Every day"),
                        ],
                        default=0,
                        verbose_name="remind",
                    ),
                ),
                ("tell_recovery", models.BooleanField(default=True)),
                ("enabled", models.BooleanField(default=True)),
                ("paused_until", models.DateTimeField(blank=True, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("unknown", "Unknown: not enough seen yet"),
                            ("paused", "Paused"),
                            ("ok", "OK"),
                            ("no_data", "No data"),
                            ("warning", "Warning"),
                            ("alert", "Alert"),
                        ],
                        default="unknown",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("last_value", models.DecimalField(decimal_places=12, editable=False, max_digits=30, null=True)),
                (
                    "raised",
                    models.PositiveIntegerField(default=0, editable=False, help_text="Groups in warning or alert."),
                ),
                ("changed_at", models.DateTimeField(editable=False, null=True)),
                ("evaluated_at", models.DateTimeField(editable=False, null=True)),
                (
                    "problem",
                    models.CharField(
                        blank=True, editable=False, help_text="Why it cannot be evaluated.", max_length=500
                    ),
                ),
                ("problem_at", models.DateTimeField(editable=False, null=True)),
                ("next_due_at", models.DateTimeField(default=core.time.now, editable=False, null=True)),
                ("claimed_until", models.DateTimeField(editable=False, null=True)),
                (
                    "claim",
                    models.PositiveBigIntegerField(
                        default=0, editable=False, help_text="Raised by each claim and each edit."
                    ),
                ),
                ("channels", models.ManyToManyField(blank=True, related_name="rules", to="telemetry.alertchannel")),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Empty: the whole installation.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="AlertEvent",
            fields=[
                ("id", core.ids.PrefixedIdField(prefix="alertevent", primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("group", models.CharField(blank=True, max_length=300)),
                (
                    "before",
                    models.CharField(
                        choices=[
                            ("unknown", "Unknown: not enough seen yet"),
                            ("paused", "Paused"),
                            ("ok", "OK"),
                            ("no_data", "No data"),
                            ("warning", "Warning"),
                            ("alert", "Alert"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "after",
                    models.CharField(
                        choices=[
                            ("unknown", "Unknown: not enough seen yet"),
                            ("paused", "Paused"),
                            ("ok", "OK"),
                            ("no_data", "No data"),
                            ("warning", "Warning"),
                            ("alert", "Alert"),
                        ],
                        max_length=10,
                    ),
                ),
                ("value", models.DecimalField(decimal_places=12, max_digits=30, null=True)),
                ("said", models.CharField(blank=True, max_length=500)),
                ("told", models.BooleanField(default=False, help_text="Whether channels were told.")),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="telemetry.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-at"],
            },
        ),
        migrations.CreateModel(
            name="AlertDelivery",
            fields=[
                ("id", core.ids.PrefixedIdField(prefix="delivery", primary_key=True, serialize=False)),
                ("message", models.JSONField(help_text="telemetry.alerts.messages.Message, as it is sent.")),
                (
                    "key",
                    models.CharField(
                        help_text="The same announcement twice is one message.", max_length=200, null=True
                    ),
                ),
                (
                    "progress",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent"), ("given_up", "Given up")],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=core.time.now)),
                ("next_attempt_at", models.DateTimeField(default=core.time.now)),
                ("sent_at", models.DateTimeField(null=True)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                (
                    "channel",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="telemetry.alertchannel",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="telemetry.alertevent",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="telemetry.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
            },
        ),
        migrations.CreateModel(
            name="AlertState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group", models.CharField(blank=True, max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("unknown", "Unknown: not enough seen yet"),
                            ("paused", "Paused"),
                            ("ok", "OK"),
                            ("no_data", "No data"),
                            ("warning", "Warning"),
                            ("alert", "Alert"),
                        ],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                ("value", models.DecimalField(decimal_places=12, max_digits=30, null=True)),
                ("calls", models.PositiveBigIntegerField(default=0)),
                ("said", models.CharField(blank=True, help_text="The figures in words.", max_length=500)),
                ("changed_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField(help_text="When there were calls the last time.", null=True)),
                ("told_at", models.DateTimeField(help_text="When channels were last told of this state.", null=True)),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="states", to="telemetry.alertrule"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="alertchannel",
            index=models.Index(fields=["organization", "name"], name="alert_channels_of_org"),
        ),
        migrations.AddIndex(
            model_name="alertrule",
            index=models.Index(fields=["organization", "name"], name="alert_rules_of_org"),
        ),
        migrations.AddIndex(
            model_name="alertrule",
            index=models.Index(
                condition=models.Q(("next_due_at__isnull", False)), fields=["next_due_at"], name="alert_rules_due"
            ),
        ),
        migrations.AddIndex(
            model_name="alertevent",
            index=models.Index(fields=["rule", "-at", "id"], name="alert_events_of_rule"),
        ),
        migrations.AddIndex(
            model_name="alertdelivery",
            index=models.Index(
                condition=models.Q(("progress", "waiting")), fields=["next_attempt_at"], name="alert_deliveries_due"
            ),
        ),
        migrations.AddIndex(
            model_name="alertdelivery",
            index=models.Index(fields=["channel", "-created_at"], name="alert_deliveries_of_chan"),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.UniqueConstraint(fields=("channel", "key"), name="one_delivery_per_key"),
        ),
        migrations.AddConstraint(
            model_name="alertstate",
            constraint=models.UniqueConstraint(fields=("rule", "group"), name="one_state_per_group"),
        ),
    ]
