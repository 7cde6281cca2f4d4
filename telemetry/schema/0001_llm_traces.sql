-- One immutable row for each attempt at calling a model. Narrow: what was said is in llm_payloads, under the same key.
-- The deduplication window is what makes a retried insert count once; see telemetry/shipper.py.
CREATE TABLE IF NOT EXISTS llm_traces
(
    id String CODEC(ZSTD(1)),
    organization_id String CODEC(ZSTD(1)),
    project_id String CODEC(ZSTD(1)),
    agent_id String CODEC(ZSTD(1)),
    agent_tags Array(LowCardinality(String)),
    conversation_id String CODEC(ZSTD(1)),
    run_id String CODEC(ZSTD(1)),
    step_id String CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    call_type LowCardinality(String),
    provider LowCardinality(String),
    provider_name LowCardinality(String),
    provider_key_id LowCardinality(String),
    is_byok UInt8,
    model LowCardinality(String),
    attempt UInt16 CODEC(T64, ZSTD(1)),
    identity_id String CODEC(ZSTD(1)),
    api_key_id String CODEC(ZSTD(1)),
    created_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_size_bytes UInt32 CODEC(T64, ZSTD(1)),
    billing_plan_type LowCardinality(String),
    billing_cost_source LowCardinality(String),
    billing_customer_id String CODEC(ZSTD(1)),
    response_size_bytes UInt32 CODEC(T64, ZSTD(1)),
    prompt_tokens UInt32 CODEC(T64, ZSTD(1)),
    completion_tokens UInt32 CODEC(T64, ZSTD(1)),
    total_tokens UInt32 CODEC(T64, ZSTD(1)),
    input_tokens UInt32 CODEC(T64, ZSTD(1)) COMMENT 'of the prompt, what was neither read from nor written to a cache',
    cached_input_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
    cache_write_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
    cache_write_5m_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
    cache_write_1h_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
    reasoning_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)) COMMENT 'lie within completion_tokens',
    usage_estimated UInt8,
    cost_usd Nullable(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'NULL: no price is known',
    price_source LowCardinality(String),
    latency_ms UInt32 CODEC(T64, ZSTD(1)),
    ttft_ms Nullable(UInt32) CODEC(T64, ZSTD(1)),
    finish_reason LowCardinality(String),
    is_error UInt8,
    error_type LowCardinality(String),
    error_message String CODEC(ZSTD(1)),
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_agent agent_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_run run_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_step step_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_model model TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_byok is_byok TYPE minmax GRANULARITY 1,
    INDEX by_error is_error TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (organization_id, created_at, id)
TTL toDateTime(created_at) + toIntervalDay({trace_days})
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
