-- What was sent and what came back, to the byte. Apart from llm_traces so that lists and sums never read it, and so
-- that it can be kept for a shorter time: weekly partitions, because a partition is dropped whole.
-- Small granules: a payload is read one at a time.
CREATE TABLE IF NOT EXISTS llm_payloads
(
    id String CODEC(ZSTD(1)),
    organization_id String CODEC(ZSTD(1)),
    created_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_json String CODEC(ZSTD(3)),
    response_json String CODEC(ZSTD(3)),
    llm_config_json String CODEC(ZSTD(3)),
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toMonday(created_at)
ORDER BY (organization_id, created_at, id)
TTL toDateTime(created_at) + toIntervalDay({payload_days})
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1, index_granularity_bytes = 1048576;
