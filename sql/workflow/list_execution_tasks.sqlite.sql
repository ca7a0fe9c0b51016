-- @function list_execution_tasks(execution bigint, state text = null, after integer = null, max integer = 100) -> n integer, name text, task bigint, state text, handler text, queue text, dependencies text[], attempt integer, max_attempts integer, run_at timestamptz, lease_until timestamptz, worker text, awaits text, started_at timestamptz, finished_at timestamptz, output jsonb, error text
--
-- In the order of the definition.

-- @raise invalid_argument
select detail from (select case
    when :state not in ('waiting', 'ready', 'running', 'completed', 'failed', 'skipped', 'cancelled')
        then 'The state must be one of waiting, ready, running, completed, failed, skipped, cancelled.'
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

-- @include workflow/refuse_execution

select n, name, task, state, handler, queue, (
        select json_group_array(name) from (
            select d.name from json_each(x.dependencies) p
                cross join main.cloaca_workflow_task d on d.workflow = x.workflow and d.n = p.value
            order by p.key)) as dependencies,
    attempt, max_attempts, run_at, lease_until, worker, awaits, started_at, finished_at, output, error
from (
    select n.n, w.workflow, w.name, n.task, w.handler, w.queue, w.dependencies, coalesce(t.attempt, n.attempt) as attempt,
        w.max_attempts, t.run_at, t.lease_until, coalesce(t.worker, n.worker) as worker, n.awaits,
        coalesce(t.claimed_at, n.started_at) as started_at, n.finished_at, n.output,
        coalesce(t.errors ->> '$[#-1].error', n.error) as error,
        case when n.state = 'ready' and t.lease_until is not null then 'running' else n.state end as state
    from main.cloaca_execution e
        cross join main.cloaca_execution_task n on n.execution = e.id and n.n > coalesce(:after, 0)
        cross join main.cloaca_workflow_task w on w.workflow = e.workflow and w.n = n.n
        left join main.cloaca_task t on t.id = n.task and n.state = 'ready'
    where e.id = :execution
) x
where :state is null or state = :state
order by n limit :max;
