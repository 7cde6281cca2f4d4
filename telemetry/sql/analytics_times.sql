WITH
    {first} AS d1,
    {second} AS d2
SELECT
    {at} AS at,
    d1 AS v1,
    d2 AS v2,
    {figures}
FROM {table} AS t
WHERE {scope}
    AND ({spans})
    {filters}
