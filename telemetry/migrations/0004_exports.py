import core.ids
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_audit_entry"), ("telemetry", "0003_alerts")]

    operations = [
        migrations.CreateModel(
            name='Export',
            fields=[
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('id', core.ids.PrefixedIdField(prefix='export', primary_key=True, serialize=False)),
                ('format', models.CharField(choices=[('csv', 'CSV: for spreadsheets'), ('jsonl', 'JSON Lines: one object a call'), ('parquet', 'Parquet: typed columns, for analysis')], max_length=10)),
                ('with_payloads', models.BooleanField(default=False, verbose_name='with requests and responses')),
                ('filters', models.JSONField(default=dict)),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=10)),
                ('progress', models.PositiveSmallIntegerField(default=0)),
                ('rows', models.PositiveBigIntegerField(default=0)),
                ('size_bytes', models.PositiveBigIntegerField(default=0)),
                ('file', models.CharField(blank=True, editable=False, max_length=200)),
                ('error', models.TextField(blank=True)),
                ('requested_by_id', models.CharField(blank=True, max_length=60)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('lease_until', models.DateTimeField(editable=False, null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
            ],
            options={
                'ordering': ['-created_at'],
                'indexes': [models.Index(fields=['organization', '-created_at', 'id'], name='telemetry_exports_listed'), models.Index(condition=models.Q(('state__in', ['queued', 'running'])), fields=['created_at'], name='telemetry_exports_unfinished')],
            },
        ),
    ]
