from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0008_tool_search"),
    ]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="approval_expires_s",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Seconds after which a request for approval that nobody answers is denied. 0: never. Empty: "
                "as the installation says.",
                null=True,
                verbose_name="approvals expire after",
            ),
        ),
        migrations.AddField(
            model_name="tool",
            name="approval_expires_s",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Seconds after which a request for approval that nobody answers is denied. 0: never. Empty: "
                "as the agent says.",
                null=True,
                verbose_name="approvals expire after",
            ),
        ),
    ]
