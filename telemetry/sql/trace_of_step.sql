SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.step_id = {step_id:String}
ORDER BY t.created_at DESC, t.id DESC
LIMIT 1
