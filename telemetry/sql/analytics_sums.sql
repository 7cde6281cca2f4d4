WITH
    {first} AS d1,
    {second} AS d2
SELECT
    {at} AS at,
    {told} AS told,
    if(told, d1, '') AS v1,
    if(told, d2, '') AS v2,
    {figures}
FROM {table} AS t
WHERE {scope}
    AND ({spans})
    {filters}
GROUP BY at, told, v1, v2
