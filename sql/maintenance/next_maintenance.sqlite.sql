-- @function next_maintenance() -> at timestamptz
--
-- Each part has an index: queue by queue for leases and history.

with recursive leased (queue) as (
    select min(queue) from main.cloaca_task where lease_until is not null
    union all
    select (select min(t.queue) from main.cloaca_task t where t.lease_until is not null and t.queue > leased.queue)
    from leased where queue is not null
), kept (queue) as (
    select min(queue) from main.cloaca_task_history
    union all
    select (select min(h.queue) from main.cloaca_task_history h where h.queue > kept.queue) from kept where queue is not null
)
select min(at) as at from (
    select (select min(t.lease_until) from main.cloaca_task t indexed by cloaca_task_lease
        where t.queue = leased.queue and t.lease_until is not null) as at
    from leased
    union all
    select (select min(h.finished_at) from main.cloaca_task_history h where h.queue = kept.queue) + coalesce(q.retention, 0)
    from kept left join main.cloaca_queue q on q.queue = kept.queue
    union all
    select min(until) from main.cloaca_finished_key
    union all
    select * from (
        select next_at from main.cloaca_schedule where next_at is not null and cloaca_zone_problem(timezone) is null
        order by next_at limit 1)
    union all
    select min(deadline) from main.cloaca_execution where deadline is not null and finished_at is null
    union all
    select min(expires_at) from main.cloaca_execution where expires_at is not null
);
