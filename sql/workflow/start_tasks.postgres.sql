-- @helper start_tasks
--
-- The tasks of a new execution: all get their ids now, and those that depend on nothing are ready.
create function cloaca.start_tasks(tenant text, execution bigint, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    started record;
begin
    select q.* into started from cloaca.query($query$
        with task as (
            insert into %1$I.cloaca_execution_task (task, execution, n, remaining, state)
            select nextval($1[3]), $1[1]::bigint, w.n, cardinality(w.dependencies), 'waiting'
            from %1$I.cloaca_execution e
            cross join lateral (
                select w.n, w.dependencies from %1$I.cloaca_workflow_task w where w.workflow = e.workflow offset 0) w
            where e.id = $1[1]::bigint order by w.n
            returning task, n, remaining
        ), counted as (
            update %1$I.cloaca_execution e set remaining = (
                select count(*) from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.dependents = '{}')
            where e.id = $1[1]::bigint returning e.deadline
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, at, state) values ($1[1]::bigint, $1[2]::timestamptz, 'pending')
        )
        select array_agg(t.task order by t.task) filter (where t.remaining = 0), (select c.deadline from counted c) from task t
        $query$, tenant, execution::text, at::text, pg_get_serial_sequence(format('%I.cloaca_task', tenant), 'id'))
        as q (free bigint[], due timestamptz);
    perform cloaca.advance(tenant, cloaca.activate(tenant, started.free, at), at);
    if started.due is not null then
        perform cloaca.note_due(tenant, started.due);
    end if;
end
$$;
