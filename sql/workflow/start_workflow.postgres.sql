-- @function start_workflow(name text, context jsonb = '{}', key text = null, timeout interval = null) -> execution bigint, created boolean
--
-- Starts an execution of a workflow's current version, in the caller's transaction. Tasks that depend on nothing are ready at once.
--
-- name: the workflow
-- context: what its tasks begin with, a JSON object of at most 64 MiB
-- key: 1 to 500 bytes; one execution of this workflow has it, as long as that is kept. Starting again returns that one
-- timeout: how long the execution may take, more than 0, at most 10 years; null for the definition's
-- Returns: the execution, and whether it is new
-- Errors: invalid_name, invalid_argument, unknown_workflow
-- Writes: cloaca_execution, cloaca_execution_task, cloaca_execution_event, cloaca_task
create function cloaca.start_workflow(name text, context jsonb default '{}', key text default null, timeout interval default null)
returns table (execution bigint, created boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    workflow record;
    execution bigint;
begin
    perform cloaca.check_context(start_workflow.context);
    if start_workflow.key is not null then
        perform cloaca.check_name(start_workflow.key, 'key', 500);
    end if;
    timeout := cloaca.microseconds(start_workflow.timeout, 'timeout', true) * interval '1 microsecond';
    select q.* into workflow from cloaca.query('select w.id, w.timeout from %1$I.cloaca_workflow w where w.name = $1[1] and w.is_current',
        tenant, start_workflow.name) as q (id bigint, timeout interval);
    if start_workflow.name is null then
        perform cloaca.raise_condition('invalid_argument', 'The name must not be null.');
    elsif workflow.id is null then
        perform cloaca.raise_condition('unknown_workflow', format('There is no workflow "%s".', start_workflow.name));
    end if;

    loop
        select q.id into execution from cloaca.query(
            'select e.id from %1$I.cloaca_execution e where e.name = $1[1] and e.key = $1[2]',
            tenant, start_workflow.name, start_workflow.key) as q (id bigint) where start_workflow.key is not null;
        if execution is not null then
            return query select execution, false;
            return;
        end if;
        -- Somebody else may have the key by now, and may be gone again then: then once more.
        select q.id into execution from cloaca.query($query$
            insert into %1$I.cloaca_execution (workflow, created_at, deadline, timeout, remaining, state, name, key, input)
            values ($1[1]::bigint, $1[2]::timestamptz, $1[2]::timestamptz + $1[3]::interval, $1[3]::interval, 0, 'pending',
                $1[4], $1[5], $1[6]::jsonb)
            on conflict (name, key) where key is not null do nothing returning id
            $query$, tenant, workflow.id::text, at::text, coalesce(timeout, workflow.timeout)::text, start_workflow.name,
            start_workflow.key, start_workflow.context::text) as q (id bigint);
        if execution is not null then
            perform cloaca.start_tasks(tenant, execution, at);
            return query select execution, true;
            return;
        end if;
    end loop;
end
$$;
