SELECT
    u.organization_id,
    {sums}
FROM llm_usage_daily AS u
WHERE {scope}
    AND u.day >= {start:Date} AND u.day < {end:Date}
GROUP BY u.organization_id
ORDER BY cost_usd DESC, u.organization_id LIMIT 1000
