SELECT
    {sums}
FROM llm_usage_daily AS u
WHERE {scope}
    AND u.day >= {start:Date} AND u.day < {end:Date}
