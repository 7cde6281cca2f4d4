import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("id", core.ids.PrefixedIdField(prefix="audit", primary_key=True, serialize=False)),
                ("actor_id", models.CharField(blank=True, help_text="A user or an API key; empty: a scheduled job.", max_length=60)),
                ("action", models.CharField(help_text="noun.verb: budget.raise, prices.reprice …", max_length=60)),
                ("target", models.CharField(blank=True, help_text="The id of what it was done to.", max_length=200)),
                ("before", models.JSONField(blank=True, null=True)),
                ("after", models.JSONField(blank=True, null=True)),
                ("reason", models.TextField(blank=True)),
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
            options={"verbose_name_plural": "audit entries", "ordering": ["-created_at"]},
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["organization", "-created_at", "id"], name="accounts_au_organiz_list"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["organization", "target", "-created_at"], name="accounts_au_organiz_target"),
        ),
    ]
