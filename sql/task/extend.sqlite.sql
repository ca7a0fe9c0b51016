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

update main.cloaca_task set lease_until = min(:now
        + coalesce(:lease, (select q.lease from main.cloaca_queue q where q.queue = cloaca_task.queue), 30000000),
    coalesce(claimed_at + timeout, 9223372036854775807), coalesce(deadline, 9223372036854775807))
where id = :task and lease_id = :lease_id and not coalesce(claimed_at + timeout <= :now or deadline <= :now, 0);

-- @raise lease_lost
select case when t.id is null then 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.'
    else 'Task ' || :task || ' ran out of time.' end as detail,
    case when t.id is null then 'Its lease expired, another worker holds it, or it is finished.'
    else 'Its timeout, or that of its execution, is over.' end as hint
from (select :task as id) asked left join main.cloaca_task t on t.id = asked.id and t.lease_id = :lease_id
where changes() = 0;

select lease_until from main.cloaca_task where id = :task;
