"""What it cost and how it went: every model call as one row in ClickHouse, by way of a spool on disk."""
