-- Every column of a call in one place, for people at a SQL prompt: with what was said, read by its key.
-- Give it an organization and an id or a narrow time; the project's own queries read the two tables apart.
CREATE VIEW IF NOT EXISTS llm_traces_full AS
SELECT
    t.*,
    p.request_json AS request_json,
    p.response_json AS response_json,
    p.llm_config_json AS llm_config_json
FROM llm_traces AS t
LEFT JOIN llm_payloads AS p ON t.organization_id = p.organization_id AND t.created_at = p.created_at AND t.id = p.id;
