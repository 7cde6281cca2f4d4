-- What a cost was made from, and how it can be corrected without changing a row.
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS price_tier LowCardinality(String);
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS price_confidence LowCardinality(String) COMMENT 'given, own, listed, assumed or none';
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS price_factor Decimal(38, 12) DEFAULT 1 COMMENT 'a discount or a margin on top of the rates, or of the given cost' CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS rate_input Nullable(Decimal(38, 12)) COMMENT 'USD per million tokens, before price_factor' CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS rate_cache_read Nullable(Decimal(38, 12)) CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS rate_cache_write_5m Nullable(Decimal(38, 12)) CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS rate_cache_write_1h Nullable(Decimal(38, 12)) CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS rate_output Nullable(Decimal(38, 12)) CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS given_cost_usd Nullable(Decimal(38, 12)) COMMENT 'what the provider says that it charged' CODEC(ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS service_tier LowCardinality(String) COMMENT 'as the provider named it; price_tier is whose price was used';
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS service_region LowCardinality(String);
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS reported_total_tokens Nullable(UInt32) COMMENT 'by the provider\'s own words; other than total_tokens: a mismatch' CODEC(T64, ZSTD(1));
ALTER TABLE llm_traces ADD COLUMN IF NOT EXISTS content LowCardinality(String) DEFAULT 'full' COMMENT 'what of the payload is kept: full, masked, metadata';

-- Its t.* was frozen when it was made.
CREATE OR REPLACE VIEW llm_traces_full AS
SELECT
    t.*,
    p.request_json AS request_json,
    p.response_json AS response_json,
    p.llm_config_json AS llm_config_json
FROM llm_traces AS t
LEFT JOIN llm_payloads AS p ON t.organization_id = p.organization_id AND t.created_at = p.created_at AND t.id = p.id;

-- Corrections. One row for each call and re-pricing: all of the call's columns, priced anew, and what it cost before.
-- A column that is added to llm_traces is added here as well. The last one of a call (by repriced_at) is what it costs.
CREATE TABLE IF NOT EXISTS llm_repricings AS llm_traces
ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (organization_id, created_at, id)
TTL toDateTime(created_at) + toIntervalDay({trace_days})
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS repricing_id LowCardinality(String) COMMENT 'the job';
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS repriced_at DateTime64(3, 'UTC');
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS actor_id LowCardinality(String);
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS reason LowCardinality(String);
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS old_cost_usd Nullable(Decimal(38, 12));
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS old_price_source LowCardinality(String);
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS old_price_tier LowCardinality(String);
ALTER TABLE llm_repricings ADD COLUMN IF NOT EXISTS old_price_confidence LowCardinality(String);

-- The sums take what a correction changes. Sums are unsigned and wrap round, so less is added as so much more.
CREATE MATERIALIZED VIEW IF NOT EXISTS llm_usage_daily_from_repricings TO llm_usage_daily AS
SELECT
    r.organization_id AS organization_id,
    toDate(r.created_at) AS day,
    r.provider AS provider,
    r.model AS model,
    r.is_byok AS is_byok,
    r.call_type AS call_type,
    toUInt64(sum(toInt64(isNull(r.cost_usd)) - toInt64(isNull(r.old_cost_usd)))) AS unpriced_calls,
    sum(ifNull(r.cost_usd, 0) - ifNull(r.old_cost_usd, 0)) AS cost_usd
FROM llm_repricings AS r
GROUP BY organization_id, day, provider, model, is_byok, call_type;

CREATE MATERIALIZED VIEW IF NOT EXISTS llm_usage_hourly_from_repricings TO llm_usage_hourly AS
SELECT
    r.organization_id AS organization_id,
    toStartOfHour(r.created_at) AS hour,
    r.provider AS provider,
    r.model AS model,
    r.is_byok AS is_byok,
    r.call_type AS call_type,
    toUInt64(sum(toInt64(isNull(r.cost_usd)) - toInt64(isNull(r.old_cost_usd)))) AS unpriced_calls,
    sum(ifNull(r.cost_usd, 0) - ifNull(r.old_cost_usd, 0)) AS cost_usd
FROM llm_repricings AS r
GROUP BY organization_id, hour, provider, model, is_byok, call_type;

-- Every call and every correction, for sums over rows: `sum(l.cost_usd)`, `sum(l.calls)`, never `count()`.
-- A correction takes the call out as it was priced and puts it in as it is priced now, so that sums are right by any
-- column, price_source and price_tier included. Sums are of Int64, cost_usd of Decimal(38, 12), none is NULL.
CREATE OR REPLACE VIEW llm_ledger AS
SELECT
    t.id AS id,
    t.organization_id AS organization_id,
    t.project_id AS project_id,
    t.agent_id AS agent_id,
    t.agent_tags AS agent_tags,
    t.conversation_id AS conversation_id,
    t.run_id AS run_id,
    t.step_id AS step_id,
    t.trace_id AS trace_id,
    t.call_type AS call_type,
    t.provider AS provider,
    t.provider_name AS provider_name,
    t.provider_key_id AS provider_key_id,
    t.is_byok AS is_byok,
    t.model AS model,
    t.attempt AS attempt,
    t.identity_id AS identity_id,
    t.api_key_id AS api_key_id,
    t.created_at AS created_at,
    t.billing_plan_type AS billing_plan_type,
    t.billing_cost_source AS billing_cost_source,
    t.billing_customer_id AS billing_customer_id,
    t.finish_reason AS finish_reason,
    t.is_error AS is_error,
    t.error_type AS error_type,
    t.error_message AS error_message,
    t.usage_estimated AS usage_estimated,
    t.content AS content,
    t.service_tier AS service_tier,
    t.service_region AS service_region,
    t.price_source AS price_source,
    t.price_tier AS price_tier,
    t.price_confidence AS price_confidence,
    toInt64(1) AS calls,
    toInt64(t.is_error) AS errors,
    toInt64(t.prompt_tokens) AS prompt_tokens,
    toInt64(t.completion_tokens) AS completion_tokens,
    toInt64(t.total_tokens) AS total_tokens,
    toInt64(t.input_tokens) AS input_tokens,
    toInt64(ifNull(t.cached_input_tokens, 0)) AS cached_input_tokens,
    toInt64(ifNull(t.cache_write_tokens, 0)) AS cache_write_tokens,
    toInt64(ifNull(t.reasoning_tokens, 0)) AS reasoning_tokens,
    toInt64(t.usage_estimated) AS estimated_calls,
    toInt64(isNull(t.cost_usd)) AS unpriced_calls,
    ifNull(t.cost_usd, 0) AS cost_usd,
    toInt64(t.latency_ms) AS latency_ms_sum,
    toInt64(ifNull(t.ttft_ms, 0)) AS ttft_ms_sum,
    toInt64(isNotNull(t.ttft_ms)) AS ttft_calls,
    toInt64(t.request_size_bytes) AS request_bytes,
    toInt64(t.response_size_bytes) AS response_bytes,
    cityHash64(t.id) AS id_checksum
FROM llm_traces AS t
UNION ALL
SELECT
    o.id AS id,
    o.organization_id AS organization_id,
    o.project_id AS project_id,
    o.agent_id AS agent_id,
    o.agent_tags AS agent_tags,
    o.conversation_id AS conversation_id,
    o.run_id AS run_id,
    o.step_id AS step_id,
    o.trace_id AS trace_id,
    o.call_type AS call_type,
    o.provider AS provider,
    o.provider_name AS provider_name,
    o.provider_key_id AS provider_key_id,
    o.is_byok AS is_byok,
    o.model AS model,
    o.attempt AS attempt,
    o.identity_id AS identity_id,
    o.api_key_id AS api_key_id,
    o.created_at AS created_at,
    o.billing_plan_type AS billing_plan_type,
    o.billing_cost_source AS billing_cost_source,
    o.billing_customer_id AS billing_customer_id,
    o.finish_reason AS finish_reason,
    o.is_error AS is_error,
    o.error_type AS error_type,
    o.error_message AS error_message,
    o.usage_estimated AS usage_estimated,
    o.content AS content,
    o.service_tier AS service_tier,
    o.service_region AS service_region,
    o.old_price_source AS price_source,
    o.old_price_tier AS price_tier,
    o.old_price_confidence AS price_confidence,
    -toInt64(1) AS calls,
    -toInt64(o.is_error) AS errors,
    -toInt64(o.prompt_tokens) AS prompt_tokens,
    -toInt64(o.completion_tokens) AS completion_tokens,
    -toInt64(o.total_tokens) AS total_tokens,
    -toInt64(o.input_tokens) AS input_tokens,
    -toInt64(ifNull(o.cached_input_tokens, 0)) AS cached_input_tokens,
    -toInt64(ifNull(o.cache_write_tokens, 0)) AS cache_write_tokens,
    -toInt64(ifNull(o.reasoning_tokens, 0)) AS reasoning_tokens,
    -toInt64(o.usage_estimated) AS estimated_calls,
    -toInt64(isNull(o.old_cost_usd)) AS unpriced_calls,
    -ifNull(o.old_cost_usd, 0) AS cost_usd,
    -toInt64(o.latency_ms) AS latency_ms_sum,
    -toInt64(ifNull(o.ttft_ms, 0)) AS ttft_ms_sum,
    -toInt64(isNotNull(o.ttft_ms)) AS ttft_calls,
    -toInt64(o.request_size_bytes) AS request_bytes,
    -toInt64(o.response_size_bytes) AS response_bytes,
    toUInt64(0) AS id_checksum
FROM llm_repricings AS o
UNION ALL
SELECT
    n.id AS id,
    n.organization_id AS organization_id,
    n.project_id AS project_id,
    n.agent_id AS agent_id,
    n.agent_tags AS agent_tags,
    n.conversation_id AS conversation_id,
    n.run_id AS run_id,
    n.step_id AS step_id,
    n.trace_id AS trace_id,
    n.call_type AS call_type,
    n.provider AS provider,
    n.provider_name AS provider_name,
    n.provider_key_id AS provider_key_id,
    n.is_byok AS is_byok,
    n.model AS model,
    n.attempt AS attempt,
    n.identity_id AS identity_id,
    n.api_key_id AS api_key_id,
    n.created_at AS created_at,
    n.billing_plan_type AS billing_plan_type,
    n.billing_cost_source AS billing_cost_source,
    n.billing_customer_id AS billing_customer_id,
    n.finish_reason AS finish_reason,
    n.is_error AS is_error,
    n.error_type AS error_type,
    n.error_message AS error_message,
    n.usage_estimated AS usage_estimated,
    n.content AS content,
    n.service_tier AS service_tier,
    n.service_region AS service_region,
    n.price_source AS price_source,
    n.price_tier AS price_tier,
    n.price_confidence AS price_confidence,
    toInt64(1) AS calls,
    toInt64(n.is_error) AS errors,
    toInt64(n.prompt_tokens) AS prompt_tokens,
    toInt64(n.completion_tokens) AS completion_tokens,
    toInt64(n.total_tokens) AS total_tokens,
    toInt64(n.input_tokens) AS input_tokens,
    toInt64(ifNull(n.cached_input_tokens, 0)) AS cached_input_tokens,
    toInt64(ifNull(n.cache_write_tokens, 0)) AS cache_write_tokens,
    toInt64(ifNull(n.reasoning_tokens, 0)) AS reasoning_tokens,
    toInt64(n.usage_estimated) AS estimated_calls,
    toInt64(isNull(n.cost_usd)) AS unpriced_calls,
    ifNull(n.cost_usd, 0) AS cost_usd,
    toInt64(n.latency_ms) AS latency_ms_sum,
    toInt64(ifNull(n.ttft_ms, 0)) AS ttft_ms_sum,
    toInt64(isNotNull(n.ttft_ms)) AS ttft_calls,
    toInt64(n.request_size_bytes) AS request_bytes,
    toInt64(n.response_size_bytes) AS response_bytes,
    toUInt64(0) AS id_checksum
FROM llm_repricings AS n;

-- What the sums should be, corrections included.
CREATE OR REPLACE VIEW llm_usage_daily_recount AS
SELECT
    l.organization_id AS organization_id,
    toDate(l.created_at) AS day,
    l.provider AS provider,
    l.model AS model,
    l.is_byok AS is_byok,
    l.call_type AS call_type,
    toUInt64(sum(l.calls)) AS calls,
    toUInt64(sum(l.errors)) AS errors,
    toUInt64(sum(l.prompt_tokens)) AS prompt_tokens,
    toUInt64(sum(l.completion_tokens)) AS completion_tokens,
    toUInt64(sum(l.total_tokens)) AS total_tokens,
    toUInt64(sum(l.input_tokens)) AS input_tokens,
    toUInt64(sum(l.cached_input_tokens)) AS cached_input_tokens,
    toUInt64(sum(l.cache_write_tokens)) AS cache_write_tokens,
    toUInt64(sum(l.reasoning_tokens)) AS reasoning_tokens,
    toUInt64(sum(l.estimated_calls)) AS estimated_calls,
    toUInt64(sum(l.unpriced_calls)) AS unpriced_calls,
    sum(l.cost_usd) AS cost_usd,
    toUInt64(sum(l.latency_ms_sum)) AS latency_ms_sum,
    toUInt64(sum(l.ttft_ms_sum)) AS ttft_ms_sum,
    toUInt64(sum(l.ttft_calls)) AS ttft_calls,
    toUInt64(sum(l.request_bytes)) AS request_bytes,
    toUInt64(sum(l.response_bytes)) AS response_bytes,
    sum(l.id_checksum) AS id_checksum
FROM llm_ledger AS l
GROUP BY organization_id, day, provider, model, is_byok, call_type;

CREATE OR REPLACE VIEW llm_usage_hourly_recount AS
SELECT
    l.organization_id AS organization_id,
    toStartOfHour(l.created_at) AS hour,
    l.provider AS provider,
    l.model AS model,
    l.is_byok AS is_byok,
    l.call_type AS call_type,
    toUInt64(sum(l.calls)) AS calls,
    toUInt64(sum(l.errors)) AS errors,
    toUInt64(sum(l.prompt_tokens)) AS prompt_tokens,
    toUInt64(sum(l.completion_tokens)) AS completion_tokens,
    toUInt64(sum(l.total_tokens)) AS total_tokens,
    toUInt64(sum(l.input_tokens)) AS input_tokens,
    toUInt64(sum(l.cached_input_tokens)) AS cached_input_tokens,
    toUInt64(sum(l.cache_write_tokens)) AS cache_write_tokens,
    toUInt64(sum(l.reasoning_tokens)) AS reasoning_tokens,
    toUInt64(sum(l.estimated_calls)) AS estimated_calls,
    toUInt64(sum(l.unpriced_calls)) AS unpriced_calls,
    sum(l.cost_usd) AS cost_usd,
    toUInt64(sum(l.latency_ms_sum)) AS latency_ms_sum,
    toUInt64(sum(l.ttft_ms_sum)) AS ttft_ms_sum,
    toUInt64(sum(l.ttft_calls)) AS ttft_calls,
    toUInt64(sum(l.request_bytes)) AS request_bytes,
    toUInt64(sum(l.response_bytes)) AS response_bytes,
    sum(l.id_checksum) AS id_checksum
FROM llm_ledger AS l
GROUP BY organization_id, hour, provider, model, is_byok, call_type;
