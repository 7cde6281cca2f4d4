"""What every room stands on: errors, ids, base models, cursors, secrets, time. No product word in here."""
