-- @function retry_task(task bigint = null, queue text = null, max integer = null) -> retried bigint
--
-- Those of executions stay. Dead letters whose key a live task has stay, and of several with one key the oldest goes. The index of a queue gives them in
-- their order; for one task its bounds are that task's dead letter.

-- @raise invalid_argument
select detail from (select case
    when (:task is null) = (:queue is null) then 'Give either task or queue.'
    when :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

-- @raise invalid_name
select 'The queue name must have 1 to 200 bytes and no control characters.' as detail
where length(cast(:queue as blob)) not between 1 and 200 or :queue glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise unknown_task
select 'Task ' || :task || ' is no dead letter.' as detail
where :task is not null and not exists (select 1 from main.cloaca_dead_letter where task = :task and status = 'failed');

-- @raise invalid_argument
select 'Task ' || :task || ' belongs to execution ' || execution || '.' as detail, 'Use retry_execution.' as hint
from main.cloaca_dead_letter where task = :task and status = 'failed' and execution is not null;

-- @raise duplicate_key
select 'The key of task ' || :task || ' is in use by task ' || t.id || '.' as detail
from main.cloaca_dead_letter d join main.cloaca_task t on t.queue = d.queue and t.key = d.key
where d.task = :task and d.status = 'failed';

insert into main.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, execution, name, key, payload, retry, errors,
    steps)
select d.task, d.queue, d.priority, :now, d.max_attempts, d.enqueued_at, d.execution, d.name, d.key, d.payload, d.retry,
    d.errors, d.steps
from main.cloaca_dead_letter d
where d.queue = coalesce(:queue, (select queue from main.cloaca_dead_letter where task = :task)) and d.status = 'failed'
    and d.execution is null
    and d.id between coalesce((select id from main.cloaca_dead_letter where task = :task), 1)
        and coalesce((select id from main.cloaca_dead_letter where task = :task), 9223372036854775807)
    and (d.key is null or not exists (select 1 from main.cloaca_task t where t.queue = d.queue and t.key = d.key))
    and (d.key is null or :queue is null or not exists (
        select 1 from main.cloaca_dead_letter e where e.queue = d.queue and e.key = d.key and e.status = 'failed' and e.execution is null
            and e.id < d.id))
order by d.id limit coalesce(:max, -1);

delete from main.cloaca_dead_letter where id in (
    select d.id from main.cloaca_dead_letter d
    where d.queue = coalesce(:queue, (select queue from main.cloaca_dead_letter where task = :task)) and d.status = 'failed'
        and d.execution is null
        and d.id between coalesce((select id from main.cloaca_dead_letter where task = :task), 1)
            and coalesce((select id from main.cloaca_dead_letter where task = :task), 9223372036854775807)
        and exists (select 1 from main.cloaca_task t where t.id = d.task)
    order by d.id limit changes());

select changes() as retried;
