-- Of calls that ended well. ttft: NULL where nothing was streamed, and then not counted.
SELECT p.at, p.v1, p.v2, p.calls, p.latency, p.ttft
FROM
(
{pieces}
) AS p
WHERE p.told
ORDER BY p.at, p.calls DESC, p.v1, p.v2
LIMIT {rows:UInt64}
