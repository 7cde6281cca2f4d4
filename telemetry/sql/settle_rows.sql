SELECT t.id, t._part, t._part_offset
FROM {table} AS t
WHERE t.organization_id IN {organizations:Array(String)}
    AND t.created_at >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')
    AND t.created_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')
    AND t.id IN {ids:Array(String)}
ORDER BY t.id, t._part, t._part_offset
