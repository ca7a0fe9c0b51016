-- @function queue_stats(queue text = null) -> queue text, ready bigint, scheduled bigint, running bigint, dead bigint, oldest_ready_age interval, exact boolean, counted_at timestamptz
--
-- Looks at a bounded number of rows however long a queue is: every count stops at 10,001. Priorities are visited by seeks, and
-- the running tasks are found by the index of leases.

-- @raise invalid_name
select 'The queue name must have 1 to 200 bytes and no control characters.' as detail
where length(cast(:queue as blob)) not between 1 and 200 or :queue glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise unknown_queue
select 'Queue "' || :queue || '" does not exist.' as detail
where :queue is not null
    and not exists (select 1 from main.cloaca_queue where queue = :queue)
    and not exists (select 1 from main.cloaca_task where queue = :queue)
    and not exists (select 1 from main.cloaca_dead_letter where queue = :queue);

with recursive level (queue, priority) as (
    select queue, priority from main.cloaca_task
    where id = coalesce(
        (select id from main.cloaca_task where queue = :queue order by priority, run_at, id limit 1),
        (select id from main.cloaca_task where :queue is null order by queue, priority, run_at, id limit 1))
    union all
    select t.queue, t.priority from level cross join main.cloaca_task t
    where t.id = coalesce(
        (select n.id from main.cloaca_task n where n.queue = level.queue and n.priority > level.priority
         order by n.priority, n.run_at, n.id limit 1),
        (select n.id from main.cloaca_task n where n.queue > level.queue and :queue is null
         order by n.queue, n.priority, n.run_at, n.id limit 1))
), dead (queue) as (
    select min(queue) from main.cloaca_dead_letter
    union all
    select (select min(d.queue) from main.cloaca_dead_letter d where d.queue > dead.queue) from dead where queue is not null
), name (queue) as (
    select :queue where :queue is not null
    union select queue from main.cloaca_queue where :queue is null
    union select queue from level where :queue is null
    union select queue from dead where :queue is null and queue is not null
), counted as materialized (
    select queue,
        (select count(*) from (
            select 1 from level l cross join main.cloaca_task d
            where l.queue = name.queue and d.queue = l.queue and d.priority = l.priority and d.run_at <= :now
            limit 10001)) as due,
        (select count(*) from (
            select 1 from main.cloaca_task d indexed by cloaca_task_lease
            where d.queue = name.queue and d.lease_until is not null and d.run_at <= :now
                and (d.cancelled or d.lease_until > :now or d.attempt >= d.max_attempts) limit 10001)) as running,
        (select count(*) from (
            select 1 from level l cross join main.cloaca_task d
            where l.queue = name.queue and d.queue = l.queue and d.priority = l.priority and d.run_at > :now
            limit 10001)) as scheduled,
        (select count(*) from (
            select 1 from main.cloaca_dead_letter d where d.queue = name.queue and d.status = 'failed' limit 10001)) as dead,
        (select min((
            select d.run_at from main.cloaca_task d
            where d.queue = l.queue and d.priority = l.priority and d.run_at <= :now and not d.cancelled
                and (d.lease_id is null or (d.lease_until <= :now and d.attempt < d.max_attempts))
            order by d.run_at limit 1)) from level l where l.queue = name.queue) as oldest_ready
    from name
), bounded as (
    select queue, due - running as ready, scheduled, running, dead, :now - oldest_ready as oldest_ready_age,
        max(due, scheduled, dead) <= 10000 as exact
    from counted
)
select b.queue, coalesce(e.ready, b.ready) as ready, coalesce(e.scheduled, b.scheduled) as scheduled,
    coalesce(e.running, b.running) as running, coalesce(e.dead, b.dead) as dead, b.oldest_ready_age, b.exact,
    case when b.exact then :now else e.counted_at end as counted_at
from bounded b left join main.cloaca_queue_estimate e on e.queue = b.queue and not b.exact
order by b.queue;
