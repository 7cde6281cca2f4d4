from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("budgets", "0001_initial")]

    operations = [
        migrations.RunSQL(
            (SQL / "ledger_1.sql").read_text(),
            "DROP FUNCTION budgets_reserve; DROP FUNCTION budgets_settle; DROP FUNCTION budgets_lapse;",
        )
    ]
