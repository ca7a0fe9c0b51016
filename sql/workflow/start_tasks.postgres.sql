-- @helper start_tasks
--
-- The tasks of a new execution: all get their ids now, and those that depend on nothing are ready.
create function cloaca.start_tasks(tenant text, execution bigint, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    free bigint[];
    due timestamptz;
begin
    execute format($query$
        with task as (
            insert into %1$I.cloaca_execution_task (task, execution, n, remaining, state)
            select nextval($3), $1, w.n, cardinality(w.dependencies), 'waiting'
            from %1$I.cloaca_execution e join %1$I.cloaca_workflow_task w on w.workflow = e.workflow
            where e.id = $1 order by w.n
            returning task, n, remaining
        ), counted as (
            update %1$I.cloaca_execution e set remaining = (
                select count(*) from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.dependents = '{}')
            where e.id = $1 returning e.deadline
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, at, state) values ($1, $2, 'pending')
        )
        select array_agg(t.task order by t.task) filter (where t.remaining = 0), (select c.deadline from counted c) from task t
        $query$, tenant) into free, due using start_tasks.execution, start_tasks.at,
            pg_get_serial_sequence(format('%I.cloaca_task', tenant), 'id');
    perform cloaca.advance(tenant, cloaca.activate(tenant, free, at), at);
    if due is not null then
        perform cloaca.note_due(tenant, due);
    end if;
end
$$;
