-- Calls by equal steps of time.
SELECT
    intDiv(toUnixTimestamp64Milli(t.created_at) - {start:Int64}, {width:Int64}) AS step,
    count() AS calls,
    sum(t.is_error) AS errors,
    quantileIf(0.5)(t.latency_ms, t.is_error = 0) AS p50,
    quantileIf(0.95)(t.latency_ms, t.is_error = 0) AS p95
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    {conditions}
GROUP BY step
ORDER BY step
