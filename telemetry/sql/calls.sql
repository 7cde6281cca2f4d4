SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND ({after_id:String} = '' OR (t.created_at, t.id) < (fromUnixTimestamp64Milli({after_at:Int64}, 'UTC'), {after_id:String}))
    {conditions}
ORDER BY t.created_at DESC, t.id DESC
LIMIT {limit:UInt32}
