-- Which of these calls are there, and how often.
SELECT t.id, count()
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND t.id IN {ids:Array(String)}
GROUP BY t.id
