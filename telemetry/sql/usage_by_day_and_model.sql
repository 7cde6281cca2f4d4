SELECT
    u.day,
    u.provider,
    u.model,
    {sums}
FROM llm_usage_daily AS u
WHERE {scope}
    AND u.day >= {start:Date} AND u.day < {end:Date}
GROUP BY u.day, u.provider, u.model
ORDER BY u.day, cost_usd DESC, u.provider, u.model
