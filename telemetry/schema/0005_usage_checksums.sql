-- A checksum of the ids behind each sum: it tells whether exactly these calls are in it, which a count cannot.
-- The recount views say what the sums should be; telemetry/settle.py and audits compare the two.
ALTER TABLE llm_usage_daily ADD COLUMN IF NOT EXISTS id_checksum UInt64;
ALTER TABLE llm_usage_hourly ADD COLUMN IF NOT EXISTS id_checksum UInt64;

ALTER TABLE llm_usage_daily_from_traces MODIFY QUERY
SELECT
    t.organization_id AS organization_id,
    toDate(t.created_at) AS day,
    t.provider AS provider,
    t.model AS model,
    t.is_byok AS is_byok,
    t.call_type AS call_type,
    count() AS calls,
    sum(t.is_error) AS errors,
    sum(t.prompt_tokens) AS prompt_tokens,
    sum(t.completion_tokens) AS completion_tokens,
    sum(t.total_tokens) AS total_tokens,
    sum(t.input_tokens) AS input_tokens,
    sum(ifNull(t.cached_input_tokens, 0)) AS cached_input_tokens,
    sum(ifNull(t.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(t.reasoning_tokens, 0)) AS reasoning_tokens,
    sum(t.usage_estimated) AS estimated_calls,
    countIf(isNull(t.cost_usd)) AS unpriced_calls,
    sum(ifNull(t.cost_usd, 0)) AS cost_usd,
    sum(t.latency_ms) AS latency_ms_sum,
    sum(ifNull(t.ttft_ms, 0)) AS ttft_ms_sum,
    count(t.ttft_ms) AS ttft_calls,
    sum(t.request_size_bytes) AS request_bytes,
    sum(t.response_size_bytes) AS response_bytes,
    sum(cityHash64(t.id)) AS id_checksum
FROM llm_traces AS t
GROUP BY organization_id, day, provider, model, is_byok, call_type;

CREATE VIEW IF NOT EXISTS llm_usage_daily_recount AS
SELECT
    t.organization_id AS organization_id,
    toDate(t.created_at) AS day,
    t.provider AS provider,
    t.model AS model,
    t.is_byok AS is_byok,
    t.call_type AS call_type,
    count() AS calls,
    sum(t.is_error) AS errors,
    sum(t.prompt_tokens) AS prompt_tokens,
    sum(t.completion_tokens) AS completion_tokens,
    sum(t.total_tokens) AS total_tokens,
    sum(t.input_tokens) AS input_tokens,
    sum(ifNull(t.cached_input_tokens, 0)) AS cached_input_tokens,
    sum(ifNull(t.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(t.reasoning_tokens, 0)) AS reasoning_tokens,
    sum(t.usage_estimated) AS estimated_calls,
    countIf(isNull(t.cost_usd)) AS unpriced_calls,
    sum(ifNull(t.cost_usd, 0)) AS cost_usd,
    sum(t.latency_ms) AS latency_ms_sum,
    sum(ifNull(t.ttft_ms, 0)) AS ttft_ms_sum,
    count(t.ttft_ms) AS ttft_calls,
    sum(t.request_size_bytes) AS request_bytes,
    sum(t.response_size_bytes) AS response_bytes,
    sum(cityHash64(t.id)) AS id_checksum
FROM llm_traces AS t
GROUP BY organization_id, day, provider, model, is_byok, call_type;

ALTER TABLE llm_usage_hourly_from_traces MODIFY QUERY
SELECT
    t.organization_id AS organization_id,
    toStartOfHour(t.created_at) AS hour,
    t.provider AS provider,
    t.model AS model,
    t.is_byok AS is_byok,
    t.call_type AS call_type,
    count() AS calls,
    sum(t.is_error) AS errors,
    sum(t.prompt_tokens) AS prompt_tokens,
    sum(t.completion_tokens) AS completion_tokens,
    sum(t.total_tokens) AS total_tokens,
    sum(t.input_tokens) AS input_tokens,
    sum(ifNull(t.cached_input_tokens, 0)) AS cached_input_tokens,
    sum(ifNull(t.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(t.reasoning_tokens, 0)) AS reasoning_tokens,
    sum(t.usage_estimated) AS estimated_calls,
    countIf(isNull(t.cost_usd)) AS unpriced_calls,
    sum(ifNull(t.cost_usd, 0)) AS cost_usd,
    sum(t.latency_ms) AS latency_ms_sum,
    sum(ifNull(t.ttft_ms, 0)) AS ttft_ms_sum,
    count(t.ttft_ms) AS ttft_calls,
    sum(t.request_size_bytes) AS request_bytes,
    sum(t.response_size_bytes) AS response_bytes,
    sum(cityHash64(t.id)) AS id_checksum
FROM llm_traces AS t
GROUP BY organization_id, hour, provider, model, is_byok, call_type;

CREATE VIEW IF NOT EXISTS llm_usage_hourly_recount AS
SELECT
    t.organization_id AS organization_id,
    toStartOfHour(t.created_at) AS hour,
    t.provider AS provider,
    t.model AS model,
    t.is_byok AS is_byok,
    t.call_type AS call_type,
    count() AS calls,
    sum(t.is_error) AS errors,
    sum(t.prompt_tokens) AS prompt_tokens,
    sum(t.completion_tokens) AS completion_tokens,
    sum(t.total_tokens) AS total_tokens,
    sum(t.input_tokens) AS input_tokens,
    sum(ifNull(t.cached_input_tokens, 0)) AS cached_input_tokens,
    sum(ifNull(t.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(t.reasoning_tokens, 0)) AS reasoning_tokens,
    sum(t.usage_estimated) AS estimated_calls,
    countIf(isNull(t.cost_usd)) AS unpriced_calls,
    sum(ifNull(t.cost_usd, 0)) AS cost_usd,
    sum(t.latency_ms) AS latency_ms_sum,
    sum(ifNull(t.ttft_ms, 0)) AS ttft_ms_sum,
    count(t.ttft_ms) AS ttft_calls,
    sum(t.request_size_bytes) AS request_bytes,
    sum(t.response_size_bytes) AS response_bytes,
    sum(cityHash64(t.id)) AS id_checksum
FROM llm_traces AS t
GROUP BY organization_id, hour, provider, model, is_byok, call_type;
