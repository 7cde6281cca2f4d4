from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0006_tool_executions'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status', 'waiting_approval')), fields=['completed_at'], name='runs_awaiting_approval'),
        ),
    ]
