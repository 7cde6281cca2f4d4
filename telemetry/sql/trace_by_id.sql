SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.id = {id:String}
LIMIT 1
