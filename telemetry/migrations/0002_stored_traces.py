from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0001_policies")]

    operations = []
