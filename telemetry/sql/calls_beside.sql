-- The call before or after one, among those it belongs to.
SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND (t.created_at, t.id) {side} (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {id:String})
    {conditions}
ORDER BY t.created_at {order}, t.id {order}
LIMIT 1
