-- @function wait_for_task(queues text[] = '{default}', timeout interval = null) -> ready boolean
--
-- What SQL can say: whether one of the queues has something to claim now, and when the next task becomes so by time alone. The
-- library asks again when the file has changed or that time has come, and sleeps in between.

-- @raise invalid_argument
select 'The queues must be an array of 1 to 1000 names.' as detail
where coalesce(json_array_length(:queues), 0) not between 1 and 1000 or exists (select 1 from json_each(:queues) where type = 'null');

-- @raise invalid_name
select 'The queue name must have 1 to 200 bytes and no control characters.' as detail
from json_each(:queues)
where length(cast(value as blob)) not between 1 and 200 or value glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*'
limit 1;

-- @raise invalid_argument
select 'The timeout must be from 0 to 10 years.' as detail
where :timeout not between 0 and 315576000000000;

-- Priorities are visited by seeks, as claims do. A task under a lease is claimable when that ends, unless it was the last attempt.
-- @watch
with recursive waited (queue) as materialized (
    select distinct q.value from json_each(:queues) q
    where not exists (select 1 from main.cloaca_queue s where s.queue = q.value and s.paused)
), level (queue, priority) as (
    select queue, (select min(t.priority) from main.cloaca_task t where t.queue = waited.queue) from waited
    union all
    select l.queue, (select min(t.priority) from main.cloaca_task t where t.queue = l.queue and t.priority > l.priority)
    from level l where l.priority is not null
)
select
    exists (
        select 1 from level l cross join main.cloaca_task t indexed by cloaca_task_claim
        where t.queue = l.queue and t.priority = l.priority and t.run_at <= :now and not t.cancelled
            and (t.deadline is null or t.deadline > :now)
            and (t.lease_id is null or (t.lease_until <= :now and t.attempt < t.max_attempts))) as ready,
    (select min(next.at) from (
        select (
            select min(t.run_at) from main.cloaca_task t indexed by cloaca_task_claim
            where t.queue = l.queue and t.priority = l.priority and t.run_at > :now) as at
        from level l
        union all
        select (
            select min(t.lease_until) from main.cloaca_task t indexed by cloaca_task_lease
            where t.queue = w.queue and t.lease_until > :now and not t.cancelled and t.attempt < t.max_attempts)
        from waited w) next) as next_at;
