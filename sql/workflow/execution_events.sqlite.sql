-- @function execution_events(execution bigint, after bigint = null, max integer = 1000) -> event bigint, at timestamptz, task bigint, name text, state text, attempt integer, worker text, detail text
--
-- In order.

-- @raise invalid_argument
select detail from (select case
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

-- @include workflow/refuse_execution

select v.id as event, v.at, v.task, coalesce(v.name, (
        select w.name from main.cloaca_execution e
            cross join main.cloaca_execution_task n on n.task = v.task
            cross join main.cloaca_workflow_task w on w.workflow = e.workflow and w.n = n.n
        where e.id = v.execution)) as name,
    v.state, v.attempt, v.worker, v.detail
from main.cloaca_execution_event v
where v.execution = :execution and v.id > coalesce(:after, 0)
order by v.id limit :max;
