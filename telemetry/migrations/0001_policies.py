import core.ids
import django.db.models.deletion
import django.utils.timezone
import telemetry.models.policy
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("accounts", "0002_audit_entry")]

    operations = [
        migrations.CreateModel(
            name='SpoolReport',
            fields=[
                ('spool', models.CharField(help_text='host:directory', max_length=300, primary_key=True, serialize=False)),
                ('oldest_at', models.DateTimeField(help_text='The oldest call that is not shipped; null: none.', null=True)),
                ('reported_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='RetentionRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('organizations', models.PositiveIntegerField(default=0)),
                ('deleted', models.JSONField(default=dict, help_text='Back end and table to rows.')),
                ('error', models.CharField(blank=True, max_length=500)),
            ],
            options={
                'ordering': ['-started_at'],
                'indexes': [models.Index(fields=['-started_at'], name='retention_run_by_start')],
            },
        ),
        migrations.CreateModel(
            name='TraceDeletion',
            fields=[
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('id', core.ids.PrefixedIdField(prefix='deletion', primary_key=True, serialize=False)),
                ('organization_name', models.CharField(blank=True, max_length=100)),
                ('scope', models.CharField(choices=[('organization', 'All of the organization, its sums included'), ('agent', 'One agent'), ('identity', 'One end user')], max_length=12)),
                ('target_id', models.CharField(blank=True, max_length=255)),
                ('reason', models.TextField(blank=True)),
                ('requested_by_id', models.CharField(blank=True, max_length=60)),
                ('requested_by', models.CharField(blank=True, max_length=254)),
                ('cut_off', models.DateTimeField()),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='queued', max_length=10)),
                ('pieces', models.JSONField(default=list)),
                ('passes', models.PositiveIntegerField(default=0)),
                ('tries', models.PositiveIntegerField(default=0, help_text='In a row that failed.')),
                ('waits_for', models.CharField(blank=True, max_length=300)),
                ('left', models.PositiveBigIntegerField(null=True)),
                ('try_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('lease_until', models.DateTimeField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('receipt', models.JSONField(null=True)),
                ('receipt_sha256', models.CharField(blank=True, max_length=64)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='accounts.organization')),
            ],
            options={
                'ordering': ['-created_at'],
                'indexes': [models.Index(fields=['organization', '-created_at'], name='trace_deletion_by_org'), models.Index(condition=models.Q(('state__in', ['queued', 'running'])), fields=['try_at'], name='trace_deletion_due')],
            },
        ),
        migrations.CreateModel(
            name='TracePolicy',
            fields=[
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('created_by_id', models.CharField(blank=True, editable=False, max_length=60, null=True)),
                ('last_updated_by_id', models.CharField(blank=True, editable=False, max_length=60, null=True)),
                ('id', core.ids.PrefixedIdField(prefix='policy', primary_key=True, serialize=False)),
                ('content', models.CharField(choices=[('full', 'Full: requests and responses as they are'), ('masked', 'Masked: secrets and personal data replaced'), ('metadata', 'Metadata: neither request nor response, only their sizes')], default='masked', max_length=10)),
                ('masked_kinds', models.JSONField(blank=True, default=telemetry.models.policy.all_kinds)),
                ('custom_rules', models.JSONField(blank=True, default=list, help_text='[{name, pattern}], 20 at most.')),
                ('use_analyzer', models.BooleanField(default=False, help_text="By the installation's analyzer (Presidio), where it has one.", verbose_name='names and places too')),
                ('trace_days', models.PositiveIntegerField(blank=True, null=True)),
                ('payload_days', models.PositiveIntegerField(blank=True, null=True)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
            ],
            options={
                'verbose_name_plural': 'trace policies',
                'constraints': [models.UniqueConstraint(fields=('organization',), name='one_trace_policy_per_organization')],
            },
        ),
    ]
