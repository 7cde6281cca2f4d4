import django.db.models.deletion
import django.utils.timezone
import pgvector.django.halfvec
from django.db import migrations, models

DIMENSIONS = (384, 768, 1024, 1536, 3072)


def _nearest(dim: int) -> migrations.RunSQL:
    """An index over the vectors of one size: those of different sizes cannot share one."""
    return migrations.RunSQL(
        f"CREATE INDEX vectors_of_{dim} ON conversations_messagevector"
        f" USING hnsw ((embedding::halfvec({dim})) halfvec_cosine_ops) WHERE dim = {dim}",
        f"DROP INDEX vectors_of_{dim}",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_audit_entry"),
        ("agents", "0002_initial"),
        ("conversations", "0007_expiring_approvals"),
    ]

    operations = [
        migrations.CreateModel(
            name="MessageVector",
            fields=[
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="vector",
                        serialize=False,
                        to="conversations.message",
                    ),
                ),
                (
                    "role",
                    models.CharField(max_length=10),
                ),
                ("handle", models.CharField(max_length=255)),
                ("dim", models.PositiveSmallIntegerField()),
                ("embedding", pgvector.django.halfvec.HalfVectorField()),
            ],
        ),
        migrations.AddField(
            model_name="conversation",
            name="vector_seq",
            field=models.PositiveIntegerField(
                db_default=1, default=1, editable=False, help_text="Messages before this one were turned into vectors."
            ),
        ),
        migrations.AddField(
            model_name="conversation",
            name="vectors_after",
            field=models.DateTimeField(editable=False, help_text="Its vectors failed: when to try again.", null=True),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                condition=models.Q(("vector_seq__lt", models.F("next_seq"))),
                fields=["-last_message_at"],
                name="without_vectors",
            ),
        ),
        migrations.AddField(
            model_name="messagevector",
            name="agent",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="agents.agent"
            ),
        ),
        migrations.AddField(
            model_name="messagevector",
            name="conversation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="conversations.conversation"
            ),
        ),
        migrations.AddField(
            model_name="messagevector",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddIndex(
            model_name="messagevector",
            index=models.Index(fields=["agent", "handle", "-created_at"], name="vectors_of_agent"),
        ),
        migrations.AddIndex(
            model_name="messagevector",
            index=models.Index(fields=["organization", "handle"], name="vectors_of_organization"),
        ),
        *(_nearest(dim) for dim in DIMENSIONS),
    ]
