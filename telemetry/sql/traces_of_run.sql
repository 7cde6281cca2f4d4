SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.run_id = {run_id:String}
ORDER BY t.created_at, t.id
LIMIT {limit:UInt32}
