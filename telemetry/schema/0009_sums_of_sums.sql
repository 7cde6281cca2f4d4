-- Each sum is fed from the next finer one: a batch of calls is read once, and what its rows come to is passed on. It takes
-- a fifth less work than three views over the calls (decision 0018), and what mends llm_usage_detail mends all.
DROP VIEW IF EXISTS llm_usage_daily_from_traces;
DROP VIEW IF EXISTS llm_usage_hourly_from_traces;
DROP VIEW IF EXISTS llm_usage_daily_from_repricings;
DROP VIEW IF EXISTS llm_usage_hourly_from_repricings;

CREATE MATERIALIZED VIEW IF NOT EXISTS llm_usage_hourly_from_detail TO llm_usage_hourly AS
SELECT
    d.organization_id AS organization_id,
    d.hour AS hour,
    d.provider AS provider,
    d.model AS model,
    d.is_byok AS is_byok,
    d.call_type AS call_type,
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
FROM llm_usage_detail AS d
GROUP BY organization_id, hour, provider, model, is_byok, call_type;

CREATE MATERIALIZED VIEW IF NOT EXISTS llm_usage_daily_from_hourly TO llm_usage_daily AS
SELECT
    h.organization_id AS organization_id,
    toDate(h.hour) AS day,
    h.provider AS provider,
    h.model AS model,
    h.is_byok AS is_byok,
    h.call_type AS call_type,
    sum(h.calls) AS calls,
    sum(h.errors) AS errors,
    sum(h.prompt_tokens) AS prompt_tokens,
    sum(h.completion_tokens) AS completion_tokens,
    sum(h.total_tokens) AS total_tokens,
    sum(h.input_tokens) AS input_tokens,
    sum(h.cached_input_tokens) AS cached_input_tokens,
    sum(h.cache_write_tokens) AS cache_write_tokens,
    sum(h.reasoning_tokens) AS reasoning_tokens,
    sum(h.estimated_calls) AS estimated_calls,
    sum(h.unpriced_calls) AS unpriced_calls,
    sum(h.cost_usd) AS cost_usd,
    sum(h.latency_ms_sum) AS latency_ms_sum,
    sum(h.ttft_ms_sum) AS ttft_ms_sum,
    sum(h.ttft_calls) AS ttft_calls,
    sum(h.request_bytes) AS request_bytes,
    sum(h.response_bytes) AS response_bytes,
    sum(h.id_checksum) AS id_checksum
FROM llm_usage_hourly AS h
GROUP BY organization_id, day, provider, model, is_byok, call_type;
