-- @helper park_task
--
-- Gives back a task that the caller has locked, to be claimed again from run_at on; its attempt does not count. `awaits` is the signal
-- that it waits for, if any.
create function cloaca.park_task(tenant text, held cloaca.held_task, task bigint, run_at timestamptz, awaits text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    due timestamptz := park_task.run_at;
begin
    if held.execution is not null then
        due := cloaca.hold_task(tenant, held.execution, park_task.task, due, park_task.awaits);
    end if;
    execute format($query$
        update %I.cloaca_task t set lease_id = null, lease_until = null, worker = null, claimed_at = null, attempt = t.attempt - 1,
            run_at = $2
        where t.id = $1
        $query$, tenant) using park_task.task, due;
    if due < 'infinity' then
        perform cloaca.note_ready(tenant, held.queue, held.priority, due, park_task.task, 1);
    end if;
end
$$;
