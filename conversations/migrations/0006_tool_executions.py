from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0005_waiting_turns")]

    operations = [
        migrations.CreateModel(
            name="ToolExecution",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("started_at", models.DateTimeField(null=True)),
                ("result", models.JSONField(null=True)),
                (
                    "message",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="conversations.message",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="conversations.run"
                    ),
                ),
            ],
            options={
                "ordering": ["message", "position"],
                "constraints": [
                    models.UniqueConstraint(fields=("message", "position"), name="a_tool_call_is_made_once")
                ],
            },
        ),
    ]
