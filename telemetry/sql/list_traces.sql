SELECT {columns}
FROM llm_traces AS t
WHERE {scope}
    AND t.created_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND t.created_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND ({after_id:String} = '' OR (t.created_at, t.id) < (fromUnixTimestamp64Milli({after_at:Int64}, 'UTC'), {after_id:String}))
    AND ({project_id:String} = '' OR t.project_id = {project_id:String})
    AND ({agent_id:String} = '' OR t.agent_id = {agent_id:String})
    AND ({conversation_id:String} = '' OR t.conversation_id = {conversation_id:String})
    AND ({run_id:String} = '' OR t.run_id = {run_id:String})
    AND ({step_id:String} = '' OR t.step_id = {step_id:String})
    AND ({trace_id:String} = '' OR t.trace_id = {trace_id:String})
    AND ({call_type:String} = '' OR t.call_type = {call_type:String})
    AND ({provider:String} = '' OR t.provider = {provider:String})
    AND ({provider_key_id:String} = '' OR t.provider_key_id = {provider_key_id:String})
    AND ({model:String} = '' OR t.model = {model:String})
    AND ({identity_id:String} = '' OR t.identity_id = {identity_id:String})
    AND ({api_key_id:String} = '' OR t.api_key_id = {api_key_id:String})
    AND ({error_type:String} = '' OR t.error_type = {error_type:String})
    AND ({tag:String} = '' OR has(t.agent_tags, {tag:String}))
    AND ({is_error:Int8} < 0 OR t.is_error = {is_error:Int8})
    AND ({is_byok:Int8} < 0 OR t.is_byok = {is_byok:Int8})
ORDER BY t.created_at DESC, t.id DESC
LIMIT {limit:UInt32}
