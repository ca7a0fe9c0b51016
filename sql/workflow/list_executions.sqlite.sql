-- @function list_executions(workflow text = null, state text = null, before bigint = null, max integer = 100) -> execution bigint, workflow text, version text, state text, key text, error text, created_at timestamptz, started_at timestamptz, finished_at timestamptz
--
-- The newest first.

-- @raise invalid_argument
select detail from (select case
    when :state not in ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')
        then 'The state must be one of pending, running, paused, completed, failed, cancelled.'
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

select e.id as execution, e.name as workflow, w.version, e.state, e.key, e.error, e.created_at, e.started_at, e.finished_at
from main.cloaca_execution e cross join main.cloaca_workflow w on w.id = e.workflow
where (:workflow is null or e.name = :workflow) and (:state is null or e.state = :state) and (:before is null or e.id < :before)
order by e.id desc limit :max;
