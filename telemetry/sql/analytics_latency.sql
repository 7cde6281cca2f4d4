-- Of calls that ended well. First tokens: no value where nothing was streamed.
SELECT
    p.at,
    p.v1,
    p.v2,
    sum(p.calls) AS ended,
    quantilesArrayMerge({percentiles})(p.latency),
    quantilesArrayMerge({percentiles})(p.ttft)
FROM
(
{pieces}
) AS p
GROUP BY p.at, p.v1, p.v2
HAVING ended > 0
ORDER BY p.at, ended DESC, p.v1, p.v2
LIMIT {rows:UInt64}
