from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0002_stored_traces")]

    operations = []
