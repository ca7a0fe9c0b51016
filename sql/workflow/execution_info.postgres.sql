-- @helper execution_info
--
-- One execution, with how many of its tasks are in which state.
create type cloaca.execution_info as (
    execution   bigint,
    workflow    text,
    version     text,
    state       text,
    key         text,
    input       jsonb,
    context     jsonb,
    result      jsonb,
    error       text,
    tasks       jsonb,
    created_at  timestamptz,
    started_at  timestamptz,
    finished_at timestamptz,
    deadline    timestamptz
);

create function cloaca.execution_info(tenant text, execution bigint) returns setof cloaca.execution_info
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        select e.id, e.name, w.version, e.state, e.key, e.input, e.context, e.result, e.error, (
                select jsonb_build_object('total', count(*),
                    'waiting', count(*) filter (where n.state = 'waiting'),
                    'ready', count(*) filter (where n.state = 'ready' and t.lease_until is null),
                    'running', count(*) filter (where n.state = 'ready' and t.lease_until is not null),
                    'completed', count(*) filter (where n.state = 'completed'),
                    'failed', count(*) filter (where n.state = 'failed'),
                    'skipped', count(*) filter (where n.state = 'skipped'),
                    'cancelled', count(*) filter (where n.state = 'cancelled'))
                from %1$I.cloaca_execution_task n left join %1$I.cloaca_task t on t.id = n.task
                where n.execution = e.id),
            e.created_at, e.started_at, e.finished_at, e.deadline
        from %1$I.cloaca_execution e join %1$I.cloaca_workflow w on w.id = e.workflow
        where e.id = $1
        $query$, tenant) using execution_info.execution;
end
$$;
