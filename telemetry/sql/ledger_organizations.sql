SELECT DISTINCT u.organization_id
FROM llm_usage_daily AS u
WHERE {scope}
    AND u.day = {day:Date}
ORDER BY u.organization_id
