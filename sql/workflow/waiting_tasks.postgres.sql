-- @helper waiting_tasks
--
-- The live tasks of an execution that wait for a signal and do not run before it comes, in the order of their ids, locked: `nowait`, or
-- waiting for whoever has one in hand. Those whose time is over are left out: anybody may claim them, and then they ask by themselves.
create function cloaca.waiting_tasks(tenant text, execution bigint, signal text, how text default '')
returns table (task bigint, queue text, priority smallint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        select t.id, t.queue, t.priority
        from %1$I.cloaca_execution_task n
        join %1$I.cloaca_task t on t.id = n.task and t.lease_id is null and t.run_at > $3
        where n.execution = $1 and n.state = 'ready' and n.awaits = $2 order by t.id for update of t %2$s
        $query$, tenant, waiting_tasks.how) using waiting_tasks.execution, waiting_tasks.signal, cloaca.now();
end
$$;
