-- @function next_maintenance() -> at timestamptz
--
-- When run_maintenance is due next for the tenant of the session: when a schedule fires, the first lease ends, the time of an
-- execution is over, or history, a key or a finished execution is to be deleted. A program that does the maintenance itself sleeps
-- until then, but not much longer than a minute: others may make something due earlier, and run_maintenance also counts long queues.
-- Where very many tasks are live and no background worker knows of their leases, a minute from now is the latest answer.
--
-- Returns: the time, which may be past; null when nothing is due
-- Errors: none
-- Writes: nothing
create function cloaca.next_maintenance() returns table (at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    times cloaca.due_times := cloaca.next_due(cloaca.current_tenant(), cloaca.now());
begin
    return query select least(times.due, times.lease);
end
$$;
