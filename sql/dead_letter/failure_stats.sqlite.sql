-- @function failure_stats(queue text = null) -> queue text, failed bigint, resolved bigint, oldest_failed_at timestamptz
--
-- A queue that is asked for by name has a row even without dead letters.

select name.queue, count(*) filter (where d.status = 'failed') as failed,
    count(*) filter (where d.status = 'resolved') as resolved,
    min(d.failed_at) filter (where d.status = 'failed') as oldest_failed_at
from (select :queue as queue where :queue is not null
      union select queue from main.cloaca_dead_letter where :queue is null) name
left join main.cloaca_dead_letter d on d.queue = name.queue
group by name.queue
order by name.queue;
