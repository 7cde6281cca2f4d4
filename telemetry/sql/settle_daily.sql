SELECT
    d.organization_id,
    d.day,
    d.provider,
    d.model,
    d.is_byok,
    d.call_type,
    sum(d.calls) AS calls,
    sum(d.errors) AS errors,
    sum(d.prompt_tokens) AS prompt_tokens,
    sum(d.completion_tokens) AS completion_tokens,
    sum(d.total_tokens) AS total_tokens,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cached_input_tokens) AS cached_input_tokens,
    sum(d.cache_write_tokens) AS cache_write_tokens,
    sum(d.reasoning_tokens) AS reasoning_tokens,
    sum(d.estimated_calls) AS estimated_calls,
    sum(d.unpriced_calls) AS unpriced_calls,
    sum(d.cost_usd) AS cost_usd,
    sum(d.latency_ms_sum) AS latency_ms_sum,
    sum(d.ttft_ms_sum) AS ttft_ms_sum,
    sum(d.ttft_calls) AS ttft_calls,
    sum(d.request_bytes) AS request_bytes,
    sum(d.response_bytes) AS response_bytes,
    sum(d.id_checksum) AS id_checksum
FROM
(
    SELECT
        organization_id, day, provider, model, is_byok, call_type,
        toInt64(r.calls) AS calls,
        toInt64(r.errors) AS errors,
        toInt64(r.prompt_tokens) AS prompt_tokens,
        toInt64(r.completion_tokens) AS completion_tokens,
        toInt64(r.total_tokens) AS total_tokens,
        toInt64(r.input_tokens) AS input_tokens,
        toInt64(r.cached_input_tokens) AS cached_input_tokens,
        toInt64(r.cache_write_tokens) AS cache_write_tokens,
        toInt64(r.reasoning_tokens) AS reasoning_tokens,
        toInt64(r.estimated_calls) AS estimated_calls,
        toInt64(r.unpriced_calls) AS unpriced_calls,
        r.cost_usd AS cost_usd,
        toInt64(r.latency_ms_sum) AS latency_ms_sum,
        toInt64(r.ttft_ms_sum) AS ttft_ms_sum,
        toInt64(r.ttft_calls) AS ttft_calls,
        toInt64(r.request_bytes) AS request_bytes,
        toInt64(r.response_bytes) AS response_bytes,
        toInt64(r.id_checksum) AS id_checksum
    FROM llm_usage_daily_recount AS r
    WHERE organization_id IN {organizations:Array(String)}
        AND day IN {periods:Array(Date)}
    UNION ALL
    SELECT
        organization_id, day, provider, model, is_byok, call_type,
        -toInt64(u.calls) AS calls,
        -toInt64(u.errors) AS errors,
        -toInt64(u.prompt_tokens) AS prompt_tokens,
        -toInt64(u.completion_tokens) AS completion_tokens,
        -toInt64(u.total_tokens) AS total_tokens,
        -toInt64(u.input_tokens) AS input_tokens,
        -toInt64(u.cached_input_tokens) AS cached_input_tokens,
        -toInt64(u.cache_write_tokens) AS cache_write_tokens,
        -toInt64(u.reasoning_tokens) AS reasoning_tokens,
        -toInt64(u.estimated_calls) AS estimated_calls,
        -toInt64(u.unpriced_calls) AS unpriced_calls,
        -u.cost_usd AS cost_usd,
        -toInt64(u.latency_ms_sum) AS latency_ms_sum,
        -toInt64(u.ttft_ms_sum) AS ttft_ms_sum,
        -toInt64(u.ttft_calls) AS ttft_calls,
        -toInt64(u.request_bytes) AS request_bytes,
        -toInt64(u.response_bytes) AS response_bytes,
        -toInt64(u.id_checksum) AS id_checksum
    FROM llm_usage_daily AS u
    WHERE organization_id IN {organizations:Array(String)}
        AND day IN {periods:Array(Date)}
) AS d
GROUP BY d.organization_id, d.day, d.provider, d.model, d.is_byok, d.call_type
HAVING id_checksum != 0
