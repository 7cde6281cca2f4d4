-- What the rows say less what the sums say, where the two differ.
SELECT
    d.organization_id,
    d.{column},
    d.provider,
    d.model,
    d.is_byok,
    d.call_type,
    {differences}
FROM
(
    SELECT organization_id, {column}, provider, model, is_byok, call_type, {rows}
    FROM {table}_recount AS r
    WHERE organization_id IN {organizations:Array(String)}
        AND {column} IN {periods:Array({type})}
    UNION ALL
    SELECT organization_id, {column}, provider, model, is_byok, call_type, {sums}
    FROM {table} AS u
    WHERE organization_id IN {organizations:Array(String)}
        AND {column} IN {periods:Array({type})}
) AS d
GROUP BY ALL
HAVING id_checksum != 0
