SELECT
    t.agent_id,
    sum(ifNull(t.cost_usd, 0)) AS cost,
    count() AS calls,
    sum(t.total_tokens) AS tokens,
    sum(t.is_error) AS errors,
    countIf(isNull(t.cost_usd)) AS unpriced
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND t.agent_id != ''
GROUP BY t.agent_id
ORDER BY cost DESC, calls DESC, t.agent_id
LIMIT {limit:UInt32}
