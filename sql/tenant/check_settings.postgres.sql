-- @helper check_settings
--
-- Refuses a connection limit or settings of a tenant's role that are no good. Only settings that limit what a session may use, or
-- that are a matter of taste, can be given; nothing that would change what code runs or what is logged.
create function cloaca.check_settings(connection_limit integer, settings jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    allowed constant text[] := array['default_transaction_isolation', 'hash_mem_multiplier', 'idle_in_transaction_session_timeout',
        'idle_session_timeout', 'lock_timeout', 'maintenance_work_mem', 'max_parallel_workers_per_gather', 'statement_timeout',
        'temp_buffers', 'temp_file_limit', 'timezone', 'transaction_timeout', 'work_mem'];
    refused text;
begin
    if check_settings.connection_limit not between 1 and 262143 then
        perform cloaca.raise_condition('invalid_argument', 'The connection_limit must be from 1 to 262143.');
    elsif check_settings.settings is null then
        return;
    elsif jsonb_typeof(check_settings.settings) <> 'object' then
        perform cloaca.raise_condition('invalid_argument', 'The settings must be an object.');
    end if;
    select e.key into refused from jsonb_each(check_settings.settings) e
    where not e.key = any (allowed) or jsonb_typeof(e.value) not in ('string', 'number', 'boolean') order by e.key limit 1;
    if found then
        perform cloaca.raise_condition('invalid_argument', format('The setting "%s" cannot be given to a tenant.', refused),
            format('The settings are %s.', array_to_string(allowed, ', ')));
    end if;
end
$$;
