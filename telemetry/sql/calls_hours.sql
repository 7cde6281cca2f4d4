-- The hours in which an organization has such calls, by the sums: the newest.
SELECT toUnixTimestamp(t.hour)
FROM llm_usage_detail AS t
WHERE {scope}
    AND t.hour >= toStartOfHour(fromUnixTimestamp64Milli({start:Int64}, 'UTC'))
    AND t.hour < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    {conditions}
GROUP BY t.organization_id, t.hour
HAVING sum(t.calls) > 0
ORDER BY t.hour DESC
LIMIT {limit:UInt32}
