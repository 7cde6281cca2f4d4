DELETE FROM {table} IN PARTITION ID %(partition)s
WHERE {theirs}
    AND sipHash128({keys}) NOT IN (SELECT sipHash128({keys}) FROM {table}_recount WHERE {theirs})
