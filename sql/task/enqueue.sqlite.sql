-- @function enqueue(name text, payload jsonb = '{}', queue text = 'default', priority integer = 0, run_at timestamptz = null, delay interval = null, key text = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- The insert finds out by itself whether the key is taken, so that no id is consumed when it is.

-- @raise invalid_name
select 'The ' || what || ' must have 1 to 200 bytes and no control characters.' as detail
from (select 'task name' as what, :name as name union all select 'queue name', :queue)
where name is null or length(cast(name as blob)) not between 1 and 200 or name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*'
limit 1;

-- @raise invalid_argument
select detail from (select case
    when :payload is null then 'The payload must not be null.'
    when length(cast(:payload as blob)) > 67108864 then 'The payload must have at most 64 MiB.'
    when :priority is null then 'The priority must not be null.'
    when :priority not between -32768 and 32767 then 'The priority must be an integer from -32768 to 32767.'
    when :run_at is not null and :delay is not null then 'Give run_at or delay, not both.'
    when :run_at not between -62135596800000000 and 253402300799999999
        then 'The run_at must be a time between the years 1 and 9999.'
    when :delay not between 0 and 315576000000000 then 'The delay must be from 0 to 10 years.'
    end as detail)
where detail is not null;

-- @raise invalid_name
select 'The key must have 1 to 500 bytes and no control characters.' as detail
where length(cast(:key as blob)) not between 1 and 500 or :key glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select detail from (select case
    when :max_attempts not between 1 and 1000000 then 'The max_attempts must be from 1 to 1000000.'
    when :retry is not null and not cloaca_is_retry(:retry)
        then 'The retry policy must be an object with strategy (fixed, linear or exponential), initial and max (seconds from '
            || '0 to 315576000), jitter (from 0 to 1) and condition (all, never, transient or an object with a pattern).'
    end as detail)
where detail is not null;

-- A key is free again when its task was cancelled while it ran, and the lease of its worker has ended.
insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, result, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, null, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.queue = :queue and t.key = :key and t.cancelled and t.lease_until <= :now;

delete from main.cloaca_task where queue = :queue and key = :key and cancelled and lease_until <= :now;

insert into main.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, key, payload, retry)
select :queue, :priority, coalesce(:run_at, :now + :delay, :now),
    coalesce(:max_attempts, (select max_attempts from main.cloaca_queue where queue = :queue), 3), :now, :name, :key, :payload,
    :retry
where :key is null
    or not exists (select 1 from main.cloaca_task where queue = :queue and key = :key)
    and not exists (select 1 from main.cloaca_finished_key where queue = :queue and key = :key and until > :now);

select case
    when changes() > 0 then last_insert_rowid()
    else coalesce((select id from main.cloaca_task where queue = :queue and key = :key),
        (select task from main.cloaca_finished_key where queue = :queue and key = :key))
    end as task, changes() > 0 as created;
