-- An agent's or end user's sums of a month that may not stay as they are: what the sums say less what the calls that are
-- left say. `stored`: rows under this key; `counted`: whether calls are left.
SELECT
    {keys},
    {differences},
    sum(d.stored) AS stored,
    max(d.counted) AS counted,
    if(counted, [], groupArrayArray(d.latencies)) AS latencies,
    if(counted, [], groupArrayArray(d.first_tokens)) AS first_tokens
FROM
(
    SELECT {keys}, {sums}, 1 AS stored, 0 AS counted, u.latencies AS latencies, u.first_tokens AS first_tokens
    FROM {table} AS u
    WHERE {theirs}
    UNION ALL
    SELECT {keys}, {rows}, 0 AS stored, 1 AS counted, emptyArrayUInt32() AS latencies, emptyArrayUInt32() AS first_tokens
    FROM {table}_recount AS r
    WHERE {theirs}
) AS d
GROUP BY {keys}
HAVING stored > 0 AND (counted = 0 OR calls != 0 OR cost_usd != 0 OR id_checksum != 0)
