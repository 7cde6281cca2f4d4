-- By tag: by the tags an agent has first, which are few sets, and only then by each of them.
WITH arrayJoin(splitByChar('\0', t.tags)) AS d1
SELECT
    t.at AS at,
    {told} AS told,
    if(told, d1, '') AS v1,
    '' AS v2,
    {sums}
FROM
(
    SELECT
        {at} AS at,
        t.tags AS tags,
        {figures}
    FROM {table} AS t
    WHERE {scope}
        AND ({spans})
        {filters}
    GROUP BY at, tags
) AS t
GROUP BY at, told, v1, v2
