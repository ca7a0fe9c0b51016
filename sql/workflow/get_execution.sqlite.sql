-- @function get_execution(execution bigint) -> execution bigint, workflow text, version text, state text, key text, input jsonb, context jsonb, result jsonb, error text, tasks jsonb, created_at timestamptz, started_at timestamptz, finished_at timestamptz, deadline timestamptz
--
-- The tasks are counted by the state that list_execution_tasks gives.

-- @include workflow/refuse_execution

select e.id as execution, e.name as workflow, w.version, e.state, e.key, e.input, e.context, e.result, e.error, (
        select json_object('total', count(*),
            'waiting', count(*) filter (where n.state = 'waiting'),
            'ready', count(*) filter (where n.state = 'ready' and t.lease_until is null),
            'running', count(*) filter (where n.state = 'ready' and t.lease_until is not null),
            'completed', count(*) filter (where n.state = 'completed'),
            'failed', count(*) filter (where n.state = 'failed'),
            'skipped', count(*) filter (where n.state = 'skipped'),
            'cancelled', count(*) filter (where n.state = 'cancelled'))
        from main.cloaca_execution_task n left join main.cloaca_task t on t.id = n.task
        where n.execution = e.id) as tasks,
    e.created_at, e.started_at, e.finished_at, e.deadline
from main.cloaca_execution e join main.cloaca_workflow w on w.id = e.workflow
where e.id = :execution;
