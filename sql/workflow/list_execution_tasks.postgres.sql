-- @function list_execution_tasks(execution bigint, state text = null, after integer = null, max integer = 100) -> n integer, name text, task bigint, state text, handler text, queue text, dependencies text[], attempt integer, max_attempts integer, run_at timestamptz, lease_until timestamptz, worker text, awaits text, started_at timestamptz, finished_at timestamptz, output jsonb, error text
--
-- The tasks of an execution in the order of the definition. For paging, pass the last n of a page as `after`.
--
-- execution: the execution
-- state: in this state alone; null for all. waiting (for dependencies), ready (claimable, scheduled, held or waiting for a signal),
--     running (under a lease), completed, failed, skipped, cancelled
-- after: with a larger n than this
-- max: how many at most, 1 to 10,000
-- Returns: a row for each task. task is the id that a claim gives; run_at is for ready and running ones (infinity: not before a
--     signal or a resume); awaits the signal that it waits for; error the last one
-- Errors: invalid_argument, unknown_execution
-- Writes: nothing
create type cloaca.execution_task_info as (
    n            integer,
    name         text,
    task         bigint,
    state        text,
    handler      text,
    queue        text,
    dependencies text[],
    attempt      integer,
    max_attempts integer,
    run_at       timestamptz,
    lease_until  timestamptz,
    worker       text,
    awaits       text,
    started_at   timestamptz,
    finished_at  timestamptz,
    output       jsonb,
    error        text
);

create function cloaca.list_execution_tasks(execution bigint, state text default null, after integer default null,
    max integer default 100) returns setof cloaca.execution_task_info
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    workflow bigint;
begin
    if list_execution_tasks.state not in ('waiting', 'ready', 'running', 'completed', 'failed', 'skipped', 'cancelled') then
        perform cloaca.raise_condition('invalid_argument',
            'The state must be one of waiting, ready, running, completed, failed, skipped, cancelled.');
    end if;
    perform cloaca.check_max(list_execution_tasks.max);
    execute format('select e.workflow from %I.cloaca_execution e where e.id = $1', tenant)
        into workflow using list_execution_tasks.execution;
    if workflow is null then
        perform cloaca.refuse_execution(list_execution_tasks.execution);
    end if;
    return query execute format($query$
        select x.n, x.name, x.task, x.state, x.handler, x.queue, array(
                select d.name from unnest(x.dependencies) with ordinality as p (n, place)
                cross join lateral (
                    select d.name from %1$I.cloaca_workflow_task d where d.workflow = $1 and d.n = p.n offset 0) d
                order by p.place),
            x.attempt, x.max_attempts, x.run_at, x.lease_until, x.worker, x.awaits, x.started_at, x.finished_at, x.output, x.error
        from (
            select n.n, w.name, n.task, w.handler, w.queue, w.dependencies, coalesce(t.attempt, n.attempt) as attempt,
                w.max_attempts, t.run_at, t.lease_until, coalesce(t.worker, n.worker) as worker, n.awaits,
                coalesce(t.claimed_at, n.started_at) as started_at, n.finished_at, n.output,
                coalesce(t.errors -> -1 ->> 'error', n.error) as error,
                case when n.state = 'ready' and t.lease_until is not null then 'running' else n.state end as state
            from %1$I.cloaca_execution_task n
            cross join lateral (
                select w.* from %1$I.cloaca_workflow_task w where w.workflow = $1 and w.n = n.n offset 0) w
            left join lateral (
                select t.* from %1$I.cloaca_task t where t.id = n.task and n.state = 'ready' offset 0) t on true
            where n.execution = $2 and n.n > $3
        ) x
        where $4 is null or x.state = $4
        order by x.n limit $5
        $query$, tenant) using workflow, list_execution_tasks.execution, coalesce(list_execution_tasks.after, 0),
            list_execution_tasks.state, list_execution_tasks.max;
end
$$;
