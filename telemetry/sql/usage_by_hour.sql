SELECT
    u.hour,
    {sums}
FROM llm_usage_hourly AS u
WHERE {scope}
    AND u.hour >= {start:DateTime('UTC')} AND u.hour < {end:DateTime('UTC')}
GROUP BY u.hour
ORDER BY u.hour
