-- Reserve: all of the budgets that a call is charged to, or none of them.
--
-- items: [{"budget", "target", "metric", "start", "since", "amount", "limit"}], limit null where it does not refuse.
-- Counters are locked by name in one order, so two calls never wait for each other, and each statement below sees what
-- the call before has committed. A call is admitted while what is spent and reserved lies below the limit: so calls
-- that come at the same time go over it by one reservation at most.
-- Answers with the budgets that refuse; no row: it is reserved.
CREATE OR REPLACE FUNCTION budgets_reserve(hold uuid, items jsonb, expires timestamptz, relaxed boolean)
RETURNS TABLE (budget uuid, target text, spent numeric, reserved numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF relaxed THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    PERFORM pg_advisory_xact_lock(counter.name) FROM (
        SELECT DISTINCT hashtextextended(i.budget || ' ' || i.target, 0) AS name
        FROM jsonb_to_recordset(items) AS i(budget text, target text) ORDER BY 1
    ) AS counter;

    RETURN QUERY
        SELECT i.budget, i.target, used.spent, used.reserved
        FROM jsonb_to_recordset(items) AS i(budget uuid, target text, since timestamptz, "limit" numeric)
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(w.spent), 0) AS spent, coalesce(sum(w.reserved), 0) AS reserved
            FROM budgets_budgetwindow AS w
            WHERE w.budget_id = i.budget AND w.target = i.target AND w.starts_at >= i.since
        ) AS used
        WHERE i."limit" IS NOT NULL AND used.spent + used.reserved >= i."limit";
    IF FOUND THEN
        RETURN;
    END IF;

    INSERT INTO budgets_budgetwindow AS w
        (budget_id, target, starts_at, spent, reserved, unpriced_calls, refused_calls)
    SELECT i.budget, i.target, i.start, 0, i.amount, 0, 0
    FROM jsonb_to_recordset(items) AS i(budget uuid, target text, start timestamptz, amount numeric)
    JOIN budgets_budget AS b ON b.id = i.budget
    ORDER BY i.budget, i.target
    ON CONFLICT (budget_id, target, starts_at) DO UPDATE SET reserved = w.reserved + excluded.reserved;

    INSERT INTO budgets_hold (id, items, expires_at, lapsed) VALUES (hold, items, expires, false);
END
$$;

-- Settle: what was reserved goes, what it really cost is spent. Once: the hold is deleted by whoever comes first.
-- A hold that had lapsed was counted as its estimate already, which the real amount now replaces.
-- Answers with each counter, what was added to it, and what its window has used up now.
CREATE OR REPLACE FUNCTION budgets_settle(hold uuid, actual jsonb, unpriced boolean, relaxed boolean)
RETURNS TABLE (budget uuid, target text, starts_at timestamptz, since timestamptz, added numeric, used numeric)
LANGUAGE plpgsql AS $$
DECLARE
    held record;
    item record;
    cost numeric;
BEGIN
    IF relaxed THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    DELETE FROM budgets_hold AS h WHERE h.id = hold RETURNING h.items, h.lapsed INTO held;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR item IN
        SELECT * FROM jsonb_to_recordset(held.items) AS i(
            budget uuid, target text, metric text, start timestamptz, since timestamptz, amount numeric)
        ORDER BY i.budget, i.target
    LOOP
        cost := (actual ->> item.metric)::numeric;
        added := cost - CASE WHEN held.lapsed THEN item.amount ELSE 0 END;
        UPDATE budgets_budgetwindow AS w SET
            spent = w.spent + added,
            reserved = w.reserved - CASE WHEN held.lapsed THEN 0 ELSE item.amount END,
            unpriced_calls = w.unpriced_calls + CASE WHEN unpriced AND item.metric = 'usd' THEN 1 ELSE 0 END
        WHERE w.budget_id = item.budget AND w.target = item.target AND w.starts_at = item.start;
        IF FOUND THEN
            budget := item.budget;
            target := item.target;
            starts_at := item.start;
            since := item.since;
            SELECT sum(w.spent) INTO used FROM budgets_budgetwindow AS w
            WHERE w.budget_id = item.budget AND w.target = item.target AND w.starts_at >= item.since;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

-- Lapse: one hold whose worker never came back counts as spent, as far as was estimated. It stays for a while, in
-- case the worker comes after all. Answers whether there was one; a hold a time, so that counters are locked in order.
CREATE OR REPLACE FUNCTION budgets_lapse()
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    held record;
    item record;
BEGIN
    SELECT h.id, h.items INTO held FROM budgets_hold AS h
    WHERE NOT h.lapsed AND h.expires_at < now()
    ORDER BY h.expires_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR item IN
        SELECT * FROM jsonb_to_recordset(held.items) AS i(budget uuid, target text, start timestamptz, amount numeric)
        ORDER BY i.budget, i.target
    LOOP
        UPDATE budgets_budgetwindow AS w SET spent = w.spent + item.amount, reserved = w.reserved - item.amount
        WHERE w.budget_id = item.budget AND w.target = item.target AND w.starts_at = item.start;
    END LOOP;
    UPDATE budgets_hold AS h SET lapsed = true WHERE h.id = held.id;
    RETURN true;
END
$$;
