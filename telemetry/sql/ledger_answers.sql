-- Of what came back, the part that tokens and terms are read from; never the answer itself.
SELECT
    t.id,
    t.response_json != '' AS kept,
    JSONExtractRaw(t.response_json, 'usage'),
    JSONExtractRaw(t.response_json, 'usageMetadata'),
    JSONExtractRaw(t.response_json, 'service_tier'),
    JSONExtractString(t.llm_config_json, 'dialect')
FROM llm_payloads AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND t.id IN {ids:Array(String)}
