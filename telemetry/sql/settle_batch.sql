SELECT
    organization_id,
    {period} AS period,
    {key},
    {lists}
    toInt64(sum(cityHash64(t.id))) AS id_checksum
FROM llm_traces AS t
WHERE t.organization_id IN {organizations:Array(String)}
    AND t.created_at >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
    AND t.created_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')
    AND t.id IN {ids:Array(String)}
GROUP BY organization_id, period, {key}
