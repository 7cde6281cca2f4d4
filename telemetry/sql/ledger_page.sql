-- Calls of a span of time in the order of the table, some at a time.
SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND (t.created_at, t.id) > (fromUnixTimestamp64Milli({after_at:Int64}, 'UTC'), {after_id:String})
    AND ({model:String} = '' OR t.model = {model:String})
    AND ({unpriced:UInt8} = 0 OR isNull(t.cost_usd))
ORDER BY t.created_at, t.id
LIMIT {limit:UInt32}
