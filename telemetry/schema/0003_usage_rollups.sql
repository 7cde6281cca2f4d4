-- Exact sums, kept by ClickHouse as rows come in. No user, agent or key in here: at that grain a roll-up is as long as
-- the table itself (measured). The targets need deduplication windows of their own, or a retried insert counts twice.

CREATE TABLE IF NOT EXISTS llm_usage_daily
(
    organization_id String,
    day Date,
    provider LowCardinality(String),
    model LowCardinality(String),
    is_byok UInt8,
    call_type LowCardinality(String),
    calls UInt64,
    errors UInt64,
    prompt_tokens UInt64,
    completion_tokens UInt64,
    total_tokens UInt64,
    input_tokens UInt64,
    cached_input_tokens UInt64,
    cache_write_tokens UInt64,
    reasoning_tokens UInt64,
    estimated_calls UInt64,
    unpriced_calls UInt64,
    cost_usd Decimal(38, 12),
    latency_ms_sum UInt64,
    ttft_ms_sum UInt64,
    ttft_calls UInt64,
    request_bytes UInt64,
    response_bytes UInt64
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (organization_id, day, provider, model, is_byok, call_type)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS llm_usage_hourly
(
    organization_id String,
    hour DateTime('UTC'),
    provider LowCardinality(String),
    model LowCardinality(String),
    is_byok UInt8,
    call_type LowCardinality(String),
    calls UInt64,
    errors UInt64,
    prompt_tokens UInt64,
    completion_tokens UInt64,
    total_tokens UInt64,
    input_tokens UInt64,
    cached_input_tokens UInt64,
    cache_write_tokens UInt64,
    reasoning_tokens UInt64,
    estimated_calls UInt64,
    unpriced_calls UInt64,
    cost_usd Decimal(38, 12),
    latency_ms_sum UInt64,
    ttft_ms_sum UInt64,
    ttft_calls UInt64,
    request_bytes UInt64,
    response_bytes UInt64
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (organization_id, hour, provider, model, is_byok, call_type)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS llm_usage_daily_from_traces TO llm_usage_daily AS
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
    sum(t.response_size_bytes) AS response_bytes
FROM llm_traces AS t
GROUP BY organization_id, day, provider, model, is_byok, call_type;

CREATE MATERIALIZED VIEW IF NOT EXISTS llm_usage_hourly_from_traces TO llm_usage_hourly AS
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
    sum(t.response_size_bytes) AS response_bytes
FROM llm_traces AS t
GROUP BY organization_id, hour, provider, model, is_byok, call_type;
