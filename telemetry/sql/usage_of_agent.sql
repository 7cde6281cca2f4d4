SELECT
    toDate(t.created_at) AS day,
    t.model,
    sum(ifNull(t.cost_usd, 0)) AS cost,
    count() AS calls,
    sum(t.total_tokens) AS tokens,
    sum(t.is_error) AS errors,
    countIf(isNull(t.cost_usd)) AS unpriced
FROM llm_traces AS t
WHERE {scope}
    AND t.agent_id = {agent_id:String}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
GROUP BY day, t.model
ORDER BY day, t.model
