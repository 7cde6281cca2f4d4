-- What the rows say less what the sums say, where the two differ.
SELECT
    {keys},
    {differences}
FROM
(
    SELECT {keys}, {rows}
    FROM {table}_recount AS r
    WHERE organization_id IN {organizations:Array(String)}
        AND {column} IN {periods:Array({type})}
    UNION ALL
    SELECT {keys}, {sums}
    FROM {table} AS u
    WHERE organization_id IN {organizations:Array(String)}
        AND {column} IN {periods:Array({type})}
) AS d
GROUP BY {keys}
HAVING id_checksum != 0
