-- The corrections of some calls, the last one of each last.
SELECT {correction}
FROM llm_repricings AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
    AND t.created_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')
    AND t.id IN {ids:Array(String)}
ORDER BY t.repriced_at, t.repricing_id
