-- A batch in one statement; a call that is there already is left as it is, so that sending again is harmless.
INSERT INTO telemetry_storedtrace
    (id, organization_id, agent_id, identity_id, run_id, step_id, created_at, row, request, response, config)
SELECT
    id, organization_id, agent_id, identity_id, run_id, step_id, to_timestamp(created_ms / 1000.0), row::jsonb,
    request, response, config
FROM unnest(
    %(id)b::text[], %(organization_id)b::text[], %(agent_id)b::text[], %(identity_id)b::text[], %(run_id)b::text[],
    %(step_id)b::text[], %(created_at)b::bigint[], %(row)b::text[],
    %(request)b::bytea[], %(response)b::bytea[], %(config)b::bytea[]
) AS sent (
    id, organization_id, agent_id, identity_id, run_id, step_id, created_ms, row, request, response, config
)
ON CONFLICT (id) DO NOTHING
