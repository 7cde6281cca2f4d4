-- A batch in one statement; a call that is there already is left as it is, so that sending again is harmless.
INSERT INTO telemetry_storedtrace
    (id, organization_id, agent_id, identity_id, run_id, step_id, created_at, row, request, response, config)
SELECT
    id, organization_id, agent_id, identity_id, run_id, step_id, to_timestamp(created_ms / 1000.0), row::jsonb,
    request, response, config
FROM unnest(
    %(id)s::text[], %(organization_id)s::text[], %(agent_id)s::text[], %(identity_id)s::text[], %(run_id)s::text[],
    %(step_id)s::text[], %(created_at)s::bigint[], %(row)s::text[],
    %(request)s::bytea[], %(response)s::bytea[], %(config)s::bytea[]
) AS sent (
    id, organization_id, agent_id, identity_id, run_id, step_id, created_ms, row, request, response, config
)
ON CONFLICT (id) DO NOTHING
