-- @helper advance
--
-- Goes on from tasks of executions that have ended: counts down what depends on them, and whatever has nothing left to wait for is
-- ready or skipped, and then what depends on the skipped ones. Executions whose last task has ended end. Costs what the dependents
-- are, however many tasks there are besides.
--
-- Dependents are locked in the order of their ids, then executions.
create function cloaca.advance(tenant text, tasks bigint[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    wave record;
    finals bigint[] := '{}';
    over bigint[];
begin
    while tasks is not null loop
        execute format($query$
            with ended as materialized (
                select n.execution, w.dependents from %1$I.cloaca_execution_task n
                join %1$I.cloaca_execution e on e.id = n.execution
                join %1$I.cloaca_workflow_task w on w.workflow = e.workflow and w.n = n.n
                where n.task = any ($1)
            ), waiting as materialized (
                select d.task, count(*)::integer as ended from ended f cross join lateral unnest(f.dependents) as x (n)
                join %1$I.cloaca_execution_task d on d.execution = f.execution and d.n = x.n
                group by d.task
            ), locked as materialized (
                select d.task from %1$I.cloaca_execution_task d
                where d.task = any (array(select task from waiting)) order by d.task for update
            ), counted as (
                update %1$I.cloaca_execution_task d set remaining = d.remaining - w.ended from waiting w
                where d.task = w.task and d.task = any (array(select task from locked)) and d.state = 'waiting'
                returning d.task, d.remaining
            )
            select (select array_agg(c.task order by c.task) from counted c where c.remaining = 0) as free,
                (select array_agg(f.execution) from ended f where f.dependents = '{}') as finals
            $query$, tenant) into wave using tasks;
        finals := finals || wave.finals;
        tasks := case when wave.free is not null then cloaca.activate(tenant, wave.free, at) end;
    end loop;

    if finals <> '{}' then
        execute format($query$
            with ended as materialized (
                select f.execution, count(*)::integer as tasks from unnest($1) as f (execution) group by f.execution
            ), locked as materialized (
                select e.id from %1$I.cloaca_execution e where e.id = any ($1) order by e.id for no key update
            ), counted as (
                update %1$I.cloaca_execution e set remaining = e.remaining - f.tasks from ended f
                where e.id = f.execution and e.id = any (array(select id from locked)) and e.finished_at is null
                returning e.id, e.remaining
            )
            select array_agg(c.id order by c.id) from counted c where c.remaining = 0
            $query$, tenant) into over using finals;
        if over is not null then
            perform cloaca.end_executions(tenant, over, at);
        end if;
    end if;
end
$$;
