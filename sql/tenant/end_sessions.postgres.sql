-- @helper end_sessions
--
-- Ends the sessions of a role and waits up to 5 seconds for their end.
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
    for attempt in 1 .. 50 loop
        -- What the view showed first stays, otherwise, as long as the transaction.
        perform pg_stat_clear_snapshot();
        select min(a.pid) into session from pg_stat_activity a where a.usename = end_sessions.role;
        exit when session is null;
        perform pg_sleep(0.1);
    end loop;
    if session is not null then
        perform cloaca.raise_condition('tenant_in_use', format('Process %s of role "%s" does not end.', session, end_sessions.role));
    end if;
end
$$;
