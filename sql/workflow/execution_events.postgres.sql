-- @function execution_events(execution bigint, after bigint = null, max integer = 1000) -> event bigint, at timestamptz, task bigint, name text, state text, attempt integer, worker text, detail text
--
-- What happened in an execution, in order. For paging, pass the last event of a page as `after`.
--
-- execution: the execution
-- after: with a larger number than this
-- max: how many at most, 1 to 10,000
-- Returns: a row for each event. Of the execution itself (task is null): pending, running, paused, resumed, retried, completed, failed,
--     cancelled, signalled (name is the signal). Of a task (name is the task's): ready, running, retrying, released, deferred,
--     awaiting, completed, failed, skipped, cancelled. detail is the error, or what else there is to say
-- Errors: invalid_argument, unknown_execution
-- Writes: nothing
create type cloaca.execution_event as (
    event   bigint,
    at      timestamptz,
    task    bigint,
    name    text,
    state   text,
    attempt integer,
    worker  text,
    detail  text
);

create function cloaca.execution_events(execution bigint, after bigint default null, max integer default 1000)
returns setof cloaca.execution_event
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    workflow bigint;
begin
    perform cloaca.check_max(execution_events.max);
    execute format('select e.workflow from %I.cloaca_execution e where e.id = $1', tenant) into workflow using execution_events.execution;
    if workflow is null then
        perform cloaca.refuse_execution(execution_events.execution);
    end if;
    return query execute format($query$
        select v.id, v.at, v.task, coalesce(v.name, (
                select w.name from %1$I.cloaca_execution_task n
                cross join lateral (select w.name from %1$I.cloaca_workflow_task w where w.workflow = $1 and w.n = n.n offset 0) w
                where n.task = v.task)),
            v.state, v.attempt, v.worker, v.detail
        from %1$I.cloaca_execution_event v
        where v.execution = $2 and v.id > $3 order by v.id limit $4
        $query$, tenant) using workflow, execution_events.execution, coalesce(execution_events.after, 0), execution_events.max;
end
$$;
