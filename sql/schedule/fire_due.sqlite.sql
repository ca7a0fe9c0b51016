-- @part fire_due
--
-- Fires the schedules that are due, one after the other until :max times or a few more were to be fired, for the late times of one
-- schedule stay together: what they start, the rows of their history, and their next times. The scratch table gets the number of times
-- fired, as an outcome. Whatever stands in a row, it catches up with 1,000 times at most. A schedule whose time zone this system cannot
-- serve is left alone.

-- @if
select 1 from main.cloaca_schedule where next_at <= :now limit 1;

insert into main.cloaca_due (schedule, scheduled_at, skipped, newest, following)
with due (schedule, next_at, times) as materialized (
    select id, next_at, cloaca_due_times(cron, timezone, catch_up, min(max_catch_up, 1000), next_at, min(:now, coalesce(ends_at, :now)), :now)
    from main.cloaca_schedule
    where next_at <= :now and cloaca_zone_problem(timezone) is null order by next_at, id limit :max
)
select d.schedule, t.value ->> '$[0]', t.value ->> '$[1]', d.times ->> '$.newest', d.times ->> '$.following'
from (select due.*, sum((select count(*) from json_each(times, '$.times') f where f.value ->> '$[1]' = 0))
          over (order by next_at, schedule rows between unbounded preceding and 1 preceding) as tried
      from due) d
    cross join json_each(d.times, '$.times') t
where coalesce(d.tried, 0) < :max
order by d.next_at, d.schedule, t.key;

update main.cloaca_due set error = (
    select 'unknown workflow: There is no workflow "' || s.workflow || '".' from main.cloaca_schedule s
    where s.id = cloaca_due.schedule and not exists (
        select 1 from main.cloaca_workflow w where w.name = s.workflow and w.is_current) and s.workflow is not null)
where skipped = 0;

-- Ids are taken all at once, for there is no other writer.
insert into main.sqlite_sequence (name, seq)
select n.name, 0 from (select 'cloaca_task' as name union all select 'cloaca_execution') n
where not exists (select 1 from main.sqlite_sequence q where q.name = n.name);

update main.cloaca_due set task = (select seq from main.sqlite_sequence where name = 'cloaca_task') + o.number
from (select d.n, row_number() over (order by d.n) as number from main.cloaca_due d join main.cloaca_schedule s on s.id = d.schedule
      where d.skipped = 0 and s.task is not null) o
where o.n = cloaca_due.n;

insert into main.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, name, payload)
select d.task, s.queue, s.priority, :now, coalesce((select max_attempts from main.cloaca_queue q where q.queue = s.queue), 3), :now,
    s.task, s.payload
from main.cloaca_due d join main.cloaca_schedule s on s.id = d.schedule
where d.task is not null order by d.n;

update main.cloaca_due set execution = (select seq from main.sqlite_sequence where name = 'cloaca_execution') + o.number
from (select d.n, row_number() over (order by d.n) as number from main.cloaca_due d join main.cloaca_schedule s on s.id = d.schedule
      where d.skipped = 0 and s.workflow is not null and d.error is null) o
where o.n = cloaca_due.n;

insert into main.cloaca_execution (id, workflow, created_at, deadline, remaining, state, name, input)
select d.execution, w.id, :now, :now + w.timeout,
    (select count(*) from main.cloaca_workflow_task t where t.workflow = w.id and t.dependents = '[]'), 'pending', w.name, s.payload
from main.cloaca_due d join main.cloaca_schedule s on s.id = d.schedule
    join main.cloaca_workflow w on w.name = s.workflow and w.is_current
where d.execution is not null order by d.n;

insert into main.cloaca_execution_task (task, execution, n, remaining, state)
select (select seq from main.sqlite_sequence where name = 'cloaca_task') + row_number() over (order by e.id, w.n), e.id, w.n,
    json_array_length(w.dependencies), 'waiting'
from main.cloaca_due d cross join main.cloaca_execution e on e.id = d.execution
    cross join main.cloaca_workflow_task w on w.workflow = e.workflow;

update main.sqlite_sequence set seq = seq + changes() where name = 'cloaca_task';

insert into main.cloaca_execution_event (execution, at, state)
select execution, :now, 'pending' from main.cloaca_due where execution is not null order by n;

insert into main.cloaca_settling (task, execution, workflow, n, phase)
select n.task, n.execution, e.workflow, n.n, 'free'
from main.cloaca_due d cross join main.cloaca_execution e on e.id = d.execution
    cross join main.cloaca_execution_task n on n.execution = e.id
where n.remaining = 0;

-- @include workflow/advance

insert into main.cloaca_firing (schedule, n, scheduled_at, fired_at, outcome, count, task, execution, error)
select d.schedule, s.firings + row_number() over (partition by d.schedule order by d.n), d.scheduled_at,
    case when d.skipped = 0 then :now end,
    case when d.skipped > 0 then 'skipped' when d.error is null then 'fired' else 'failed' end, max(d.skipped, 1),
    d.task, d.execution, d.error
from main.cloaca_due d join main.cloaca_schedule s on s.id = d.schedule;

update main.cloaca_schedule set
    next_at = case when d.following <= coalesce(ends_at, d.following) then d.following end,
    last_scheduled_at = d.newest,
    last_fired_at = case when d.fired > 0 then :now else last_fired_at end,
    firings = cloaca_schedule.firings + d.firings, fired = cloaca_schedule.fired + d.fired,
    skipped = cloaca_schedule.skipped + d.skipped, failed = cloaca_schedule.failed + d.failed,
    delay = cloaca_schedule.delay + d.delay, largest_delay = max(cloaca_schedule.largest_delay, d.largest_delay)
from (
    select schedule, max(newest) as newest, max(following) as following, count(*) as firings, sum(skipped) as skipped,
        count(*) filter (where skipped = 0 and error is null) as fired, count(*) filter (where error is not null) as failed,
        coalesce(sum(:now - scheduled_at) filter (where skipped = 0 and error is null), 0) as delay,
        coalesce(max(:now - scheduled_at) filter (where skipped = 0 and error is null), 0) as largest_delay
    from main.cloaca_due group by schedule
) d
where d.schedule = cloaca_schedule.id;

delete from main.cloaca_firing
where (schedule, n) in (
    select f.schedule, f.n from (select distinct schedule from main.cloaca_due) d
    join main.cloaca_schedule s on s.id = d.schedule
    join main.cloaca_firing f on f.schedule = s.id and f.n <= s.firings - 1000);

insert into main.cloaca_scratch (task, outcome)
select count(*), 'fired' from main.cloaca_due where skipped = 0 and error is null;

delete from main.cloaca_due;

-- @end
