-- What a re-pricing changed, by model.
SELECT
    t.provider,
    t.model,
    count() AS calls,
    sum(ifNull(t.old_cost_usd, 0)) AS old_cost_usd,
    sum(ifNull(t.cost_usd, 0)) AS new_cost_usd,
    countIf(isNull(t.old_cost_usd) AND isNotNull(t.cost_usd)) AS priced
FROM llm_repricings AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND t.repricing_id = {repricing:String}
GROUP BY t.provider, t.model
ORDER BY abs(new_cost_usd - old_cost_usd) DESC, t.provider, t.model
