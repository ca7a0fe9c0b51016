-- @function complete_many(tasks bigint[], lease_ids bigint[], results jsonb[] = null) -> task bigint, outcome text
--
-- The scratch table carries the outcomes past the statements that act on them. Where no queue keeps anything, nothing is looked
-- up for history and keys.

-- @raise invalid_argument
select detail from (select case
    when :tasks is null or :lease_ids is null or json_array_length(:tasks) <> json_array_length(:lease_ids)
        then 'The tasks and lease_ids must be arrays of the same length.'
    when json_array_length(:results) <> json_array_length(:tasks) then 'The results must be as many as the tasks.'
    when length(cast(:results as blob)) > 67108864 and exists (
        select 1 from json_each(:results) where length(cast(value as blob)) > 67108864)
        then 'The result must have at most 64 MiB.'
    end as detail)
where detail is not null;

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (n, task, lease_id, outcome)
with task as materialized (select key as n, value as id from json_each(:tasks)),
lease as materialized (select key as n, value as id from json_each(:lease_ids))
select task.n, task.id, lease.id, case
    when t.cancelled then 'cancelled'
    when t.id is not null and not coalesce(t.claimed_at + t.timeout <= :now or t.deadline <= :now, 0) or exists (
        select 1 from main.cloaca_task_history h where h.task = task.id and h.lease_id = lease.id and h.state = 'completed')
        then 'completed'
    else 'lease_lost' end
from task join lease on lease.n = task.n left join main.cloaca_task t on t.id = task.id and t.lease_id = lease.id;

-- @if
select 1 from main.cloaca_queue where retention > 0 or key_retention > 0 limit 1;

insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, errors, result)
select t.id, t.queue, :now, s.outcome, t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, t.errors, case
        when :results is null or s.outcome <> 'completed' or r.type = 'null' then null
        when r.type in ('object', 'array') then r.value
        when r.type = 'text' then json_quote(r.value)
        when r.type in ('true', 'false') then r.type
        when typeof(r.value) = 'integer' then r.value
        else :results -> r.fullkey
        end
from json_each(coalesce(:results, :tasks)) r
    cross join main.cloaca_scratch s on s.n = r.key and s.outcome <> 'lease_lost'
    join main.cloaca_task t on t.id = s.task and t.lease_id = s.lease_id
    join main.cloaca_queue q on q.queue = t.queue
where q.retention > 0
order by s.n
on conflict (task) do nothing;

insert into main.cloaca_finished_key (queue, key, task, until)
select t.queue, t.key, t.id, :now + q.key_retention
from main.cloaca_scratch s join main.cloaca_task t on t.id = s.task
    join main.cloaca_queue q on q.queue = t.queue and q.key_retention > 0
where s.outcome = 'completed' and t.key is not null
on conflict (queue, key) do update set task = excluded.task, until = excluded.until;
-- @end

-- @if
select 1 from main.cloaca_scratch s cross join main.cloaca_task t on t.id = s.task
where s.outcome <> 'lease_lost' and t.lease_id = s.lease_id and t.execution is not null limit 1;

insert into main.cloaca_ended (task, state, output, attempt, worker, claimed_at, steps)
select t.id, s.outcome, case
        when :results is null or s.outcome <> 'completed' or r.type = 'null' then null
        when r.type in ('object', 'array') then r.value
        when r.type = 'text' then json_quote(r.value)
        when r.type in ('true', 'false') then r.type
        when typeof(r.value) = 'integer' then r.value
        else :results -> r.fullkey
        end, t.attempt, t.worker, t.claimed_at, case s.outcome when 'cancelled' then t.steps end
from json_each(coalesce(:results, :tasks)) r
    cross join main.cloaca_scratch s on s.n = r.key and s.outcome <> 'lease_lost'
    join main.cloaca_task t on t.id = s.task and t.lease_id = s.lease_id
where t.execution is not null
order by s.n
on conflict (task) do nothing;

delete from main.cloaca_task where id in (select task from main.cloaca_scratch where outcome <> 'lease_lost');

-- @include workflow/end_tasks
-- @end

delete from main.cloaca_task where id in (select task from main.cloaca_scratch where outcome <> 'lease_lost');

select task, outcome from main.cloaca_scratch order by n;
