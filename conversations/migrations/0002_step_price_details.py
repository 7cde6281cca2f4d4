from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="step",
            name="price_tier",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The terms whose price was used: flex, long …",
                max_length=60,
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="price_confidence",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="given, own, listed, assumed or none.",
                max_length=10,
            ),
        ),
    ]
