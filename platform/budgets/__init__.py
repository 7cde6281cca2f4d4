"""What may be spent, how fast, and who is stopped: budgets, rate limits and stops, each held before a call is made."""
