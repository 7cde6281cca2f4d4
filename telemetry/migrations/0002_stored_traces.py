import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0001_policies")]

    operations = [
        migrations.CreateModel(
            name="StoredTrace",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("organization_id", models.CharField(max_length=64)),
                ("agent_id", models.CharField(blank=True, max_length=64)),
                ("identity_id", models.CharField(blank=True, max_length=255)),
                ("run_id", models.CharField(blank=True, max_length=64)),
                ("step_id", models.CharField(blank=True, max_length=64)),
                ("created_at", models.DateTimeField()),
                ("row", models.JSONField()),
                ("request", models.BinaryField(null=True)),
                ("response", models.BinaryField(null=True)),
                ("config", models.BinaryField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization_id", "-created_at"], name="stored_trace_by_org"),
                    models.Index(fields=["run_id"], name="stored_trace_by_run"),
                    models.Index(fields=["step_id"], name="stored_trace_by_step"),
                    models.Index(
                        condition=models.Q(("request__isnull", False)),
                        fields=["created_at"],
                        name="stored_trace_with_payload",
                    ),
                    django.contrib.postgres.indexes.BrinIndex(fields=["created_at"], name="stored_trace_by_age"),
                ],
            },
        ),
        # They come compressed: PostgreSQL need not try.
        migrations.RunSQL(
            "ALTER TABLE telemetry_storedtrace"
            " ALTER COLUMN request SET STORAGE EXTERNAL,"
            " ALTER COLUMN response SET STORAGE EXTERNAL,"
            " ALTER COLUMN config SET STORAGE EXTERNAL",
            migrations.RunSQL.noop,
        ),
    ]
