-- Of each budget the counter that has used up the most of its window, and figures of all its counters.
SELECT DISTINCT ON (counter.budget_id)
    counter.budget_id, counter.target, counter.spent, counter.reserved,
    count(*) OVER every AS counters,
    (sum(counter.unpriced_calls) OVER every)::bigint AS unpriced_calls,
    (sum(counter.refused_calls) OVER every)::bigint AS refused_calls
FROM (
    SELECT w.budget_id, w.target, sum(w.spent) AS spent, sum(w.reserved) AS reserved,
        sum(w.unpriced_calls) AS unpriced_calls, sum(w.refused_calls) AS refused_calls
    FROM unnest(%s::uuid[], %s::timestamptz[]) AS b(id, since)
    JOIN budgets_budgetwindow AS w ON w.budget_id = b.id AND w.starts_at >= b.since
    GROUP BY w.budget_id, w.target
) AS counter
WINDOW every AS (PARTITION BY counter.budget_id)
ORDER BY counter.budget_id, counter.spent + counter.reserved DESC, counter.target
