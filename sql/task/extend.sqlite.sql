-- @function extend(task bigint, lease_id bigint, lease interval = null) -> lease_until timestamptz
--
-- What is refused takes the update back.

-- @raise invalid_argument
select detail from (select case
    when :lease not between 1 and 315576000000000 then 'The lease must be more than 0 and at most 10 years.'
    end as detail)
where detail is not null;

-- @raise cancelled
select 'Task ' || :task || ' was cancelled while it ran.' as detail, 'Release the task to acknowledge it.' as hint
from main.cloaca_task where id = :task and lease_id = :lease_id and cancelled;

update main.cloaca_task set lease_until = :now
    + coalesce(:lease, (select q.lease from main.cloaca_queue q where q.queue = cloaca_task.queue), 30000000)
where id = :task and lease_id = :lease_id;

-- @raise lease_lost
select 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.' as detail,
    'Its lease expired, another worker holds it, or it is finished.' as hint
where changes() = 0;

select lease_until from main.cloaca_task where id = :task;
