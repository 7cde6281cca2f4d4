-- Of calls that ended well. First tokens: no value where nothing was streamed.
SELECT
    p.at,
    p.v1,
    p.v2,
    sum(p.ended) AS calls,
    {quantiles}(p.latencies),
    if(sum(length(p.first_tokens)) = 0, [nan, nan, nan], {quantiles}(p.first_tokens))
FROM
(
{pieces}
) AS p
GROUP BY p.at, p.v1, p.v2
HAVING calls > 0
ORDER BY p.at, calls DESC, p.v1, p.v2
LIMIT {rows:UInt64}
