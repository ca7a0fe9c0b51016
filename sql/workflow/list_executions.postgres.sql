-- @function list_executions(workflow text = null, state text = null, before bigint = null, max integer = 100) -> execution bigint, workflow text, version text, state text, key text, error text, created_at timestamptz, started_at timestamptz, finished_at timestamptz
--
-- Executions, the newest first. For paging, pass the last id of a page as `before`.
--
-- workflow: of this workflow alone; null for all
-- state: in this state alone; null for all. pending, running, paused, completed, failed, cancelled
-- before: with a smaller id than this
-- max: how many at most, 1 to 10,000
-- Returns: a row for each execution, ordered by id from the largest down
-- Errors: invalid_argument
-- Writes: nothing
create type cloaca.execution_row as (
    execution   bigint,
    workflow    text,
    version     text,
    state       text,
    key         text,
    error       text,
    created_at  timestamptz,
    started_at  timestamptz,
    finished_at timestamptz
);

create function cloaca.list_executions(workflow text default null, state text default null, before bigint default null,
    max integer default 100) returns setof cloaca.execution_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if list_executions.state not in ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled') then
        perform cloaca.raise_condition('invalid_argument',
            'The state must be one of pending, running, paused, completed, failed, cancelled.');
    end if;
    perform cloaca.check_max(list_executions.max);
    return query execute format($query$
        select e.id, e.name, w.version, e.state, e.key, e.error, e.created_at, e.started_at, e.finished_at
        from %1$I.cloaca_execution e join %1$I.cloaca_workflow w on w.id = e.workflow
        where ($1 is null or e.name = $1) and ($2 is null or e.state = $2) and ($3 is null or e.id < $3)
        order by e.id desc limit $4
        $query$, cloaca.current_tenant())
        using list_executions.workflow, list_executions.state, list_executions.before, list_executions.max;
end
$$;
