-- @function list_queues() -> queue text, paused boolean, lease interval, max_attempts integer, retry jsonb, retention interval, key_retention interval
--
-- The names come from the indexes by one seek a name, however many tasks there are.

with recursive live (queue) as (
    select min(queue) from main.cloaca_task
    union all
    select (select min(t.queue) from main.cloaca_task t where t.queue > live.queue) from live where queue is not null
), dead (queue) as (
    select min(queue) from main.cloaca_dead_letter
    union all
    select (select min(d.queue) from main.cloaca_dead_letter d where d.queue > dead.queue) from dead where queue is not null
), name (queue) as (
    select queue from main.cloaca_queue
    union select queue from live where queue is not null
    union select queue from dead where queue is not null
)
select name.queue, coalesce(q.paused, 0) as paused, coalesce(q.lease, 30000000) as lease,
    coalesce(q.max_attempts, 3) as max_attempts, coalesce(q.retry, '{}') as retry,
    coalesce(q.retention, 0) as retention, coalesce(q.key_retention, 0) as key_retention
from name left join main.cloaca_queue q on q.queue = name.queue
order by name.queue;
