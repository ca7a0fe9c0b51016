-- @helper add_workflow
--
-- Stores a new version of a definition that was checked, as the current one. The caller has seen under a lock that there is none: one that
-- is there was made since the snapshot of a transaction above read committed, which `on conflict` has the server say.
create function cloaca.add_workflow(tenant text, name text, version text, definition jsonb) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tasks constant jsonb := definition -> 'tasks';
    places constant jsonb := (
        select jsonb_object_agg(i.task ->> 'name', i.n) from jsonb_array_elements(tasks) with ordinality as i (task, n));
    workflow bigint;
begin
    execute format($query$
        insert into %I.cloaca_workflow (name, version, is_current, defined_at, tasks, timeout, retention, definition)
        values ($1, $2, true, $3, jsonb_array_length($4 -> 'tasks'), ($4 ->> 'timeout')::double precision * interval '1 second',
            coalesce(($4 ->> 'retention')::double precision, 2592000) * interval '1 second', $4)
        on conflict do nothing returning id
        $query$, tenant) into workflow using add_workflow.name, add_workflow.version, cloaca.now(), add_workflow.definition;
    execute format($query$
        with item as materialized (
            select i.n::integer as n, i.task, i.task ->> 'name' as name
            from jsonb_array_elements($2 -> 'tasks') with ordinality as i (task, n)
        ), edge as materialized (
            select i.n as dependent, d.place, b.n as dependency
            from item i cross join jsonb_array_elements_text(coalesce(i.task -> 'dependencies', '[]'))
                with ordinality as d (name, place)
            join item b on b.name = d.name
        ), before as (
            select e.dependent as n, array_agg(e.dependency order by e.place) as tasks from edge e group by e.dependent
        ), behind as (
            select e.dependency as n, array_agg(e.dependent order by e.dependent) as tasks from edge e group by e.dependency
        )
        insert into %I.cloaca_workflow_task (workflow, n, rank, priority, max_attempts, name, handler, queue, dependencies,
            dependents, timeout, retry, trigger, input)
        select $1, i.n, $3[i.n], coalesce((i.task ->> 'priority')::numeric::smallint, 0), coalesce((i.task ->> 'max_attempts')::numeric::integer, 3), i.name,
            coalesce(i.task ->> 'handler', i.name), coalesce(i.task ->> 'queue', $2 ->> 'queue', 'default'),
            coalesce(b.tasks, '{}'), coalesce(a.tasks, '{}'), (i.task ->> 'timeout')::double precision * interval '1 second',
            i.task -> 'retry', i.task -> 'trigger', i.task -> 'input'
        from item i left join before b on b.n = i.n left join behind a on a.n = i.n
        order by i.n
        $query$, tenant) using workflow, add_workflow.definition, cloaca.task_ranks(tasks, places);
    return workflow;
end
$$;
