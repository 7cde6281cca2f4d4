(d1, d2) IN (
    SELECT p.v1, p.v2
    FROM
    (
{pieces}
    ) AS p
    GROUP BY p.v1, p.v2
    ORDER BY sum(p.weight) DESC, p.v1, p.v2
    LIMIT {limit:UInt64}
)
