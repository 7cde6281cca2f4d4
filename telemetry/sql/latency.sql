SELECT
    count() AS calls,
    quantile(0.5)(t.latency_ms) AS p50,
    quantile(0.95)(t.latency_ms) AS p95,
    quantileOrNull(0.5)(t.ttft_ms) AS ttft_p50
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND t.is_error = 0
