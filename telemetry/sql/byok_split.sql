SELECT
    u.is_byok,
    {sums}
FROM llm_usage_daily AS u
WHERE {scope}
    AND u.day >= {start:Date} AND u.day < {end:Date}
GROUP BY u.is_byok
ORDER BY u.is_byok
