SELECT
    u.organization_id,
    sum(u.calls) AS calls,
    sum(u.errors) AS errors,
    sum(u.prompt_tokens) AS prompt_tokens,
    sum(u.completion_tokens) AS completion_tokens,
    sum(u.total_tokens) AS total_tokens,
    sum(u.input_tokens) AS input_tokens,
    sum(u.cached_input_tokens) AS cached_input_tokens,
    sum(u.cache_write_tokens) AS cache_write_tokens,
    sum(u.reasoning_tokens) AS reasoning_tokens,
    sum(u.estimated_calls) AS estimated_calls,
    sum(u.unpriced_calls) AS unpriced_calls,
    sum(u.cost_usd) AS cost_usd,
    sum(u.latency_ms_sum) AS latency_ms_sum,
    sum(u.ttft_ms_sum) AS ttft_ms_sum,
    sum(u.ttft_calls) AS ttft_calls
FROM llm_usage_daily AS u
WHERE {scope}
    AND u.day >= {start:Date} AND u.day < {end:Date}
GROUP BY u.organization_id
ORDER BY cost_usd DESC, u.organization_id LIMIT 1000
