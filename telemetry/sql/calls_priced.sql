-- By what a call costs now: as it was written, or as it was last corrected.
AND
    (
        (
            {as_written}
            AND t.id NOT IN
            (
                SELECT r.id
                FROM llm_repricings AS r
                WHERE {scope}
                    AND r.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
                    AND r.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
            )
        )
        OR t.id IN
        (
            SELECT r.id
            FROM llm_repricings AS r
            WHERE {scope}
                AND r.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
                AND r.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
            GROUP BY r.id
            HAVING {as_corrected}
        )
    )
