-- @function list_dead_letters(queue text = null, status text = 'failed', after bigint = null, max integer = 100) -> dead_letter bigint, task bigint, queue text, name text, payload jsonb, priority smallint, attempt integer, max_attempts integer, key text, worker text, error text, errors jsonb, execution bigint, enqueued_at timestamptz, failed_at timestamptz, status text, resolution text, resolved_at timestamptz
--
-- In the order of their ids, which is the order of failing.

-- @raise invalid_argument
select detail from (select case
    when :status not in ('failed', 'resolved') then 'The status must be failed or resolved.'
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

select id as dead_letter, task, queue, name, payload, priority, attempt, max_attempts, key, worker, error, errors, execution,
    enqueued_at, failed_at, status, resolution, resolved_at
from main.cloaca_dead_letter
where (:queue is null or queue = :queue) and (:status is null or status = :status) and id > coalesce(:after, 0)
order by id limit :max;
