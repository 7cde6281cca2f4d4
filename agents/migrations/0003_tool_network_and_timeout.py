from __future__ import annotations

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_initial")]

    operations = [
        migrations.AddField(
            model_name="tool",
            name="network",
            field=models.BooleanField(
                default=False,
                db_default=False,
                help_text="In the sandbox it may reach public addresses, by HTTP and HTTPS.",
            ),
        ),
        migrations.AddField(
            model_name="tool",
            name="timeout_s",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Seconds that a call may take in the sandbox; empty: the server's limit.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(3600),
                ],
            ),
        ),
    ]
