-- The values to tell apart.
SELECT p.v1, p.v2, p.weight
FROM
(
{piece}
) AS p
ORDER BY p.weight DESC, p.v1, p.v2
LIMIT {limit:UInt64}
