-- What calls and corrections of a day say less what a table of sums says, where the two differ.
SELECT
    {keys},
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
        {keys},
        toInt64(t.calls) AS calls,
        toInt64(t.errors) AS errors,
        toInt64(t.prompt_tokens) AS prompt_tokens,
        toInt64(t.completion_tokens) AS completion_tokens,
        toInt64(t.total_tokens) AS total_tokens,
        toInt64(t.input_tokens) AS input_tokens,
        toInt64(t.cached_input_tokens) AS cached_input_tokens,
        toInt64(t.cache_write_tokens) AS cache_write_tokens,
        toInt64(t.reasoning_tokens) AS reasoning_tokens,
        toInt64(t.estimated_calls) AS estimated_calls,
        toInt64(t.unpriced_calls) AS unpriced_calls,
        t.cost_usd AS cost_usd,
        toInt64(t.latency_ms_sum) AS latency_ms_sum,
        toInt64(t.ttft_ms_sum) AS ttft_ms_sum,
        toInt64(t.ttft_calls) AS ttft_calls,
        toInt64(t.request_bytes) AS request_bytes,
        toInt64(t.response_bytes) AS response_bytes,
        toInt64(t.id_checksum) AS id_checksum
    FROM {table}_recount AS t
    WHERE {scope} AND {period}
    UNION ALL
    SELECT
        {keys},
        -toInt64(t.calls) AS calls,
        -toInt64(t.errors) AS errors,
        -toInt64(t.prompt_tokens) AS prompt_tokens,
        -toInt64(t.completion_tokens) AS completion_tokens,
        -toInt64(t.total_tokens) AS total_tokens,
        -toInt64(t.input_tokens) AS input_tokens,
        -toInt64(t.cached_input_tokens) AS cached_input_tokens,
        -toInt64(t.cache_write_tokens) AS cache_write_tokens,
        -toInt64(t.reasoning_tokens) AS reasoning_tokens,
        -toInt64(t.estimated_calls) AS estimated_calls,
        -toInt64(t.unpriced_calls) AS unpriced_calls,
        -t.cost_usd AS cost_usd,
        -toInt64(t.latency_ms_sum) AS latency_ms_sum,
        -toInt64(t.ttft_ms_sum) AS ttft_ms_sum,
        -toInt64(t.ttft_calls) AS ttft_calls,
        -toInt64(t.request_bytes) AS request_bytes,
        -toInt64(t.response_bytes) AS response_bytes,
        -toInt64(t.id_checksum) AS id_checksum
    FROM {table} AS t
    WHERE {scope} AND {period}
) AS d
GROUP BY ALL
HAVING calls != 0 OR errors != 0 OR prompt_tokens != 0 OR completion_tokens != 0 OR total_tokens != 0 OR input_tokens != 0 OR cached_input_tokens != 0 OR cache_write_tokens != 0 OR reasoning_tokens != 0 OR estimated_calls != 0 OR unpriced_calls != 0 OR cost_usd != 0 OR latency_ms_sum != 0 OR ttft_ms_sum != 0 OR ttft_calls != 0 OR request_bytes != 0 OR response_bytes != 0 OR id_checksum != 0
ORDER BY {keys}
