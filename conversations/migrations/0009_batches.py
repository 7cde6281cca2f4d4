import core.ids
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_audit_entry'),
        ('agents', '0002_initial'),
        ('conversations', '0008_message_vectors'),
    ]

    operations = [
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('id', core.ids.PrefixedIdField(prefix='job', primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('running', 'Running'), ('completed', 'Completed'), ('cancelled', 'Cancelled'), ('expired', 'Expired')], default='running', max_length=10)),
                ('request_count', models.PositiveIntegerField()),
                ('counts', models.JSONField(default=dict, help_text='How its items ended, by the words of the wire.')),
                ('project_id', models.CharField(blank=True, max_length=60)),
                ('api_key_id', models.CharField(blank=True, max_length=60)),
                ('user_id', models.CharField(blank=True, max_length=60)),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('callback_url', models.URLField(blank=True, max_length=2083, null=True)),
                ('callback_due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('callback_attempts', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('callback_sent_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('callback_status_code', models.PositiveSmallIntegerField(blank=True, editable=False, null=True)),
                ('callback_error', models.TextField(blank=True, editable=False, null=True)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
            ],
            options={
                'verbose_name_plural': 'batches',
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='BatchItem',
            fields=[
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('id', core.ids.PrefixedIdField(prefix='batch_item', primary_key=True, serialize=False)),
                ('place', models.PositiveIntegerField()),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('started', 'Started'), ('ended', 'Ended')], default='waiting', max_length=10)),
                ('not_before', models.DateTimeField(blank=True, null=True)),
                ('rows', models.JSONField(default=list)),
                ('options', models.JSONField(default=dict)),
                ('error', models.JSONField(blank=True, help_text='type, message', null=True)),
                ('agent', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='agents.agent')),
                ('batch', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='items', to='conversations.batch')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
                ('run', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='batch_item', to='conversations.run')),
            ],
            options={
                'ordering': ['batch', 'place'],
            },
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(fields=['organization', '-created_at', 'id'], name='batches_of_organization'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(condition=models.Q(('status', 'running')), fields=['created_at'], name='batches_running'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(condition=models.Q(('callback_due_at__isnull', False)), fields=['callback_due_at'], name='batch_callbacks_due'),
        ),
        migrations.AddIndex(
            model_name='batchitem',
            index=models.Index(condition=models.Q(('status', 'waiting')), fields=['organization', 'agent', 'created_at', 'place'], name='items_waiting'),
        ),
        migrations.AddIndex(
            model_name='batchitem',
            index=models.Index(condition=models.Q(('status', 'started')), fields=['organization'], name='items_started'),
        ),
        migrations.AddConstraint(
            model_name='batchitem',
            constraint=models.UniqueConstraint(fields=('batch', 'place'), name='one_item_per_place'),
        ),
    ]
