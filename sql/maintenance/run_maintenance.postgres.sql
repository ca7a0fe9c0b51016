-- @function run_maintenance(max integer = 1000) -> expired bigint, dead bigint, cancelled bigint, trimmed bigint, keys bigint, fired bigint, timed_out bigint, removed bigint
--
-- The periodic work, a batch of it: leases that ended, schedules that are due, executions whose time is over, history, finished keys and
-- finished executions that are past their time, and the counts of long queues. A background worker does it, where the library is
-- preloaded; else call it every few seconds from anywhere, as `cloaca work` does. It waits for no lock: what somebody else has in hand
-- is left for the next time. On PostgreSQL it works on the tenant of the session; maintain_tenants does on all of them.
--
-- max: how many rows of each kind at most, 1 to 10,000. Schedules are fired one after the other until so many times were; but what one
--     schedule has to catch up with by run_all, 1,000 times at most, it does in one call
-- Returns: how many tasks are ready again because their lease expired, how many became dead letters by it, how many cancelled
--     tasks left, how many finished tasks and finished keys were deleted, how many times schedules fired, how many executions ended
--     because their time was over, and how many finished executions were deleted
-- Errors: invalid_argument
-- Writes: cloaca_task, cloaca_dead_letter, cloaca_task_history, cloaca_finished_key, cloaca_queue_estimate, cloaca_schedule,
--     cloaca_firing, cloaca_execution and its tasks, events and signals
create function cloaca.run_maintenance(max integer default 1000)
returns table (expired bigint, dead bigint, cancelled bigint, trimmed bigint, keys bigint, fired bigint, timed_out bigint, removed bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    counts cloaca.maintenance_counts := row (0, 0, 0, 0, 0, 0, 0, 0);
begin
    perform cloaca.check_max(run_maintenance.max);
    begin
        counts := cloaca.maintain_tenant(tenant, run_maintenance.max, cloaca.now());
    exception when lock_not_available then
        null;
    end;
    return query select counts.*;
end
$$;
