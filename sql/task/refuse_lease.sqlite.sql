-- @part refuse_lease
--
-- Raises when a task is not to be had under a lease: it was cancelled while it ran, its time is over, or it is not held under it.

-- @raise cancelled
select 'Task ' || :task || ' was cancelled while it ran.' as detail, 'Release the task to acknowledge it.' as hint
from main.cloaca_task where id = :task and lease_id = :lease_id and cancelled;

-- @raise lease_lost
select case when t.id is null then 'Task ' || coalesce(:task, 'null') || ' is not held under this lease.'
    else 'Task ' || :task || ' ran out of time.' end as detail,
    case when t.id is null then 'Its lease expired, another worker holds it, or it is finished.'
    else 'Its timeout, or that of its execution, is over.' end as hint
from (select :task as id) asked left join main.cloaca_task t on t.id = asked.id and t.lease_id = :lease_id
where t.id is null or t.claimed_at + t.timeout <= :now or t.deadline <= :now;
