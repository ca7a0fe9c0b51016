-- @helper end_sessions
--
-- Ends the sessions of a role and waits for their end, up to 5 seconds each.
--
-- Errors: tenant_in_use
create function cloaca.end_sessions(role text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    session integer;
begin
    -- By a loop, so that nobody but these is asked to end, whatever the plan of the query is.
    for session in select a.pid from pg_stat_activity a where a.usename = end_sessions.role loop
        perform pg_terminate_backend(session);
    end loop;
    for session in select a.pid from pg_stat_activity a where a.usename = end_sessions.role loop
        if not pg_terminate_backend(session, 5000) and exists (select from pg_stat_get_activity(session)) then
            perform cloaca.raise_condition('tenant_in_use',
                format('Process %s of role "%s" does not end.', session, end_sessions.role));
        end if;
    end loop;
end
$$;
