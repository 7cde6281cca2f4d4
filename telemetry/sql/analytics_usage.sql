-- The first values are told apart, the others are one group: so that the groups add up to all there is.
SELECT
    g.at,
    g.told AND g.place <= {limit:UInt64} AS kept,
    if(kept, g.v1, '') AS first,
    if(kept, g.v2, '') AS second,
    {sums}
FROM
(
    SELECT *, {place} AS place
    FROM
    (
        SELECT p.at AS at, p.told AS told, p.v1 AS v1, p.v2 AS v2, {part_sums}
        FROM
        (
{pieces}
        ) AS p
        GROUP BY p.at, p.told, p.v1, p.v2
    )
) AS g
GROUP BY g.at, kept, first, second
ORDER BY g.at, kept DESC, {order} DESC, first, second
