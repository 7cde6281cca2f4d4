-- By tag: by the tags an agent has first, which are few sets, and only then by each of them.
WITH
    {d1} AS d1,
    {d2} AS d2
SELECT
    t.at AS at,
    t.other_told AND {told} AS told,
    if(told, d1, '') AS v1,
    if(told, d2, '') AS v2,
    {sums}
FROM
(
    WITH {other} AS d
    SELECT
        {at} AS at,
        t.tags AS tags,
        {other_told} AS other_told,
        if(other_told, d, '') AS other,
        {figures}
    FROM {table} AS t
    WHERE {scope}
        AND ({spans})
        {filters}
    GROUP BY at, tags, other_told, other
) AS t
GROUP BY at, told, v1, v2
