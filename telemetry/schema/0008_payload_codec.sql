-- Payloads are compressed at the lightest level: with the index of their words, level 3 was what held the shipper up.
ALTER TABLE llm_payloads
    MODIFY COLUMN request_json String CODEC(ZSTD(1)),
    MODIFY COLUMN response_json String CODEC(ZSTD(1)),
    MODIFY COLUMN llm_config_json String CODEC(ZSTD(1));
