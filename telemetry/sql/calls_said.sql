AND (t.organization_id, t.created_at, t.id) IN
    (
        SELECT p.organization_id, p.created_at, p.id
        FROM llm_payloads AS p
        WHERE {scope}
            AND p.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
            AND p.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
            {told}
    )
