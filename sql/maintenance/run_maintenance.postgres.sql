-- @function run_maintenance(max integer = 1000) -> expired bigint, dead bigint, cancelled bigint, trimmed bigint, keys bigint
--
-- The periodic work, a batch of it, on every tenant that the caller may use: leases that ended, history and finished keys that
-- are past their time, and the counts of long queues. Call it every few seconds from anywhere; `cloaca work` does. It waits for
-- no lock: what somebody else has in hand is left for the next time. A failure in one tenant is a warning, and the others go on.
--
-- max: how many rows of each kind at most for each tenant, 1 to 10,000
-- Returns: how many tasks are ready again because their lease expired, how many became dead letters by it, how many cancelled
--     tasks left, how many finished tasks and finished keys were deleted
-- Errors: invalid_argument
-- Writes: cloaca_task, cloaca_dead_letter, cloaca_task_history, cloaca_finished_key, cloaca_queue_estimate
create function cloaca.run_maintenance(max integer default 1000)
returns table (expired bigint, dead bigint, cancelled bigint, trimmed bigint, keys bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text;
    counts cloaca.maintenance_counts;
begin
    perform cloaca.check_max(run_maintenance.max);
    expired := 0; dead := 0; cancelled := 0; trimmed := 0; keys := 0;
    for tenant in select u.schema_name from cloaca.usable_tenant u order by u.schema_name loop
        begin
            counts := cloaca.maintain_tenant(tenant, run_maintenance.max, cloaca.now());
            expired := expired + counts.expired;
            dead := dead + counts.dead;
            cancelled := cancelled + counts.cancelled;
            trimmed := trimmed + counts.trimmed;
            keys := keys + counts.keys;
        exception
            when lock_not_available or insufficient_privilege then
                null;
            when others then
                raise warning 'maintenance of tenant "%" failed: %', tenant, sqlerrm using errcode = sqlstate;
        end;
    end loop;
    return next;
end
$$;
