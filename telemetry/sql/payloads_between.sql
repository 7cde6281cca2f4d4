SELECT p.id, p.request_json, p.response_json, p.llm_config_json
FROM llm_payloads AS p
WHERE p.organization_id = {org:String}
    AND p.created_at >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
    AND p.created_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')
    AND p.id IN {ids:Array(String)}
