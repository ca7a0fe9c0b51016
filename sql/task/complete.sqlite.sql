-- @function complete(task bigint, lease_id bigint, result jsonb = null) -> void
--
-- Nothing but a delete where the queue keeps neither history nor keys.

-- @raise invalid_argument
select 'The result must have at most 64 MiB.' as detail where length(cast(:result as blob)) > 67108864;

-- @raise cancelled
select 'Task ' || :task || ' was cancelled while it ran.' as detail, 'Release the task to acknowledge it.' as hint
from main.cloaca_task where id = :task and lease_id = :lease_id and cancelled;

-- @raise lease_lost
select case when t.id is null then 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.'
    else 'Task ' || :task || ' ran out of time.' end as detail,
    case when t.id is null then 'Its lease expired, another worker holds it, or it is finished.'
    else 'Its timeout, or that of its execution, is over.' end as hint
from (select :task as id) asked left join main.cloaca_task t on t.id = asked.id and t.lease_id = :lease_id
where (t.id is null or t.claimed_at + t.timeout <= :now or t.deadline <= :now)
    and not exists (select 1 from main.cloaca_task_history where task = :task and lease_id = :lease_id and state = 'completed');

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, result, errors)
select t.id, t.queue, :now, 'completed', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, :result, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.id = :task and t.lease_id = :lease_id;

insert into main.cloaca_finished_key (queue, key, task, until)
select t.queue, t.key, t.id, :now + q.key_retention
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.key_retention > 0
where t.id = :task and t.lease_id = :lease_id and t.key is not null
on conflict (queue, key) do update set task = excluded.task, until = excluded.until;

-- @if
select 1 from main.cloaca_task where id = :task and lease_id = :lease_id and execution is not null;

insert into main.cloaca_ended (task, state, output, attempt, worker, claimed_at)
select id, 'completed', :result, attempt, worker, claimed_at from main.cloaca_task where id = :task;

delete from main.cloaca_task where id = :task;

-- @include workflow/end_tasks
-- @end

delete from main.cloaca_task where id = :task and lease_id = :lease_id;
