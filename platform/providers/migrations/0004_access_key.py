from django.db import migrations

import core.fields


class Migration(migrations.Migration):
    dependencies = [("providers", "0003_own_keys")]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="access_key",
            field=core.fields.EncryptedTextField(
                blank=True,
                default="",
                help_text="Of a key that has two parts (AWS); the other is the secret.",
                verbose_name="access key ID",
            ),
        ),
    ]
