-- @function next_maintenance() -> at timestamptz
--
-- When run_maintenance is due next for the tenant of the session: when the first lease ends, the time of an
-- execution is over, or history, a key or a finished execution is to be deleted. A
-- program that does maintenance itself sleeps until then, or until it makes something due earlier; a minute at most is a good idea,
-- as others may do that too, and since run_maintenance also counts long queues. Where there are very many live tasks and no
-- background worker, the answer is a minute from now at the latest.
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
