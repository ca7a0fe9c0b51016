-- @function defer_until(task bigint, lease_id bigint, run_at timestamptz) -> void
--
-- Gives a claimed task back, to be claimed again from a given time on. The attempt does not count.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- run_at: not before this time
-- Returns: nothing
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task
create function cloaca.defer_until(task bigint, lease_id bigint, run_at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    held cloaca.held_task;
begin
    perform cloaca.check_time(defer_until.run_at);
    held := cloaca.held_task(tenant, defer_until.task, defer_until.lease_id);
    if held.execution is not null then
        perform cloaca.add_event(tenant, held.execution, defer_until.task, 'deferred', held.attempt, held.worker, null, cloaca.now());
    end if;
    perform cloaca.park_task(tenant, held, defer_until.task, defer_until.run_at, null);
end
$$;
