-- @function await_signal(task bigint, lease_id bigint, name text, timeout interval = null) -> outcome text, payload jsonb
--
-- What was received, or until when to wait, is among the task's steps, under `signal:` and the name. The scratch row has the answer
-- (queue is the payload, lease_id the end of the wait, task the signal); its number is 1 when that was recorded before.

-- @raise invalid_name
select 'The signal name must have 1 to 200 bytes and no control characters.' as detail
where :name is null or length(cast(:name as blob)) not between 1 and 200 or :name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select detail from (select case
    when :timeout not between 0 and 315576000000000 then 'The timeout must be from 0 to 10 years.'
    end as detail)
where detail is not null;

-- @include task/refuse_lease

-- @raise invalid_argument
select 'Task ' || :task || ' belongs to no execution.' as detail from main.cloaca_task where id = :task and execution is null;

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (n, task, lease_id, outcome, queue)
select 1, null, null, s.value ->> '$.outcome', s.value -> '$.payload'
from main.cloaca_task t cross join json_each(t.steps) s
where t.id = :task and s.key = 'signal:' || :name and s.value ->> '$.outcome' is not null;

-- @if
select 1 where not exists (select 1 from main.cloaca_scratch);

insert into main.cloaca_scratch (n, task, lease_id, outcome, queue)
select 2, s.id, a.until, case when s.id is not null then 'received' when a.until <= :now then 'timed_out' else 'waiting' end, s.payload
from (
    select t.execution, case when r.key is null then :now + :timeout else r.value ->> '$.until' end as until
    from main.cloaca_task t left join json_each(t.steps) r on r.key = 'signal:' || :name
    where t.id = :task
) a left join main.cloaca_pending_signal s on s.id = (
    select f.id from main.cloaca_pending_signal f where f.execution = a.execution and f.name = :name order by f.id limit 1);

delete from main.cloaca_pending_signal where id = (select task from main.cloaca_scratch);

update main.cloaca_task set steps = (
    select '{' || group_concat(json_quote(key) || ': ' || value, ', ') || '}' from (
        select key, value from json_each(coalesce(cloaca_task.steps, '{}')) where key <> 'signal:' || :name
        union all select 'signal:' || :name, (
            select case outcome
                when 'received' then '{"outcome": "received"' || coalesce(', "payload": ' || queue, '') || '}'
                when 'timed_out' then '{"outcome": "timed_out"}'
                else '{"until": ' || coalesce(lease_id, 'null') || '}' end
            from main.cloaca_scratch)))
where id = :task;

update main.cloaca_execution_task set awaits = case (select outcome from main.cloaca_scratch) when 'waiting' then :name end
where task = :task;
-- @end

-- @if
select 1 from main.cloaca_scratch where n = 2 and outcome = 'waiting';

insert into main.cloaca_execution_event (execution, task, at, attempt, state, worker, detail)
select execution, id, :now, attempt, 'awaiting', worker, :name from main.cloaca_task where id = :task;

update main.cloaca_task set lease_id = null, lease_until = null, worker = null, claimed_at = null, attempt = attempt - 1,
    run_at = coalesce((select lease_id from main.cloaca_scratch), 9223372036854775807)
where id = :task;

-- @include workflow/hold_task
-- @end

select outcome, queue as payload from main.cloaca_scratch;
