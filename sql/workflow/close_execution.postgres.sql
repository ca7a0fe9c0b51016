-- @helper close_execution
--
-- Ends an execution before its tasks have, with this state and error: tasks that wait or are ready are cancelled, those that run
-- are marked so that their workers learn of it. The caller has locked the execution for update, after which nobody makes tasks of it
-- ready.
create function cloaca.close_execution(tenant text, execution bigint, state text, error text, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tasks bigint[];
    leases record;
begin
    execute format($query$
        with cancelled as (
            update %1$I.cloaca_execution_task n set state = 'cancelled', finished_at = $2, awaits = null, held_run_at = null
            where n.execution = $1 and n.state in ('waiting', 'ready') returning n.task
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, task, at, state)
            select $1, c.task, $2, 'cancelled' from cancelled c order by c.task
        )
        select array_agg(c.task) from cancelled c
        $query$, tenant) into tasks using close_execution.execution, close_execution.at;
    execute format('select from %I.cloaca_task t where t.id = any ($1) order by t.id for update', tenant) using tasks;
    -- A task without a lease gets one that ends at once, so that it can leave like every other.
    execute format($query$
        with marked as (
            update %I.cloaca_task t set cancelled = true, lease_id = coalesce(t.lease_id, 0), lease_until = coalesce(t.lease_until, $2)
            where t.id = any ($1) returning t.id, t.lease_id, t.lease_until
        )
        select array_agg(m.id) as tasks, array_agg(m.lease_id) as lease_ids from marked m where m.lease_until <= $2
        $query$, tenant) into leases using tasks, close_execution.at;
    if leases.tasks is not null then
        perform from cloaca.finish(tenant, 'cancelled', leases.tasks, leases.lease_ids, null, at);
    end if;
    execute format($query$
        update %1$I.cloaca_execution e set state = $3, error = $4, finished_at = $2, remaining = 0,
            expires_at = $2 + (select w.retention from %1$I.cloaca_workflow w where w.id = e.workflow)
        where e.id = $1
        $query$, tenant) using close_execution.execution, close_execution.at, close_execution.state, close_execution.error;
    perform cloaca.add_event(tenant, close_execution.execution, null, close_execution.state, null, null, close_execution.error, at);
    perform cloaca.note_execution(tenant, close_execution.execution);
end
$$;
