SELECT p.request_json, p.response_json, p.llm_config_json
FROM llm_payloads AS p
WHERE p.organization_id = {org:String}
    AND p.created_at = fromUnixTimestamp64Milli({created_at:Int64}, 'UTC')
    AND p.id = {id:String}
LIMIT 1
