-- @function enqueue_many(name text, payloads jsonb[], queue text = 'default', priority integer = 0, run_at timestamptz = null, delay interval = null, keys text[] = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- New ids are consecutive, for there is no other writer: those of tasks without a key are counted, those with one looked up.
-- Of several payloads with one key the first is the task.

-- @raise invalid_name
select 'The ' || what || ' must have 1 to 200 bytes and no control characters.' as detail
from (select 'task name' as what, :name as name union all select 'queue name', :queue)
where name is null or length(cast(name as blob)) not between 1 and 200 or name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*'
limit 1;

-- @raise invalid_argument
select detail from (select case
    when :payloads is null then 'The payloads must be an array.'
    when exists (select 1 from json_each(:payloads) where type = 'null') then 'The payload must not be null.'
    when length(cast(:payloads as blob)) > 67108864 and exists (
        select 1 from json_each(:payloads) where length(cast(value as blob)) > 67108864)
        then 'The payload must have at most 64 MiB.'
    when :priority is null then 'The priority must not be null.'
    when :priority not between -32768 and 32767 then 'The priority must be an integer from -32768 to 32767.'
    when :run_at is not null and :delay is not null then 'Give run_at or delay, not both.'
    when :run_at not between -62135596800000000 and 253402300799999999
        then 'The run_at must be a time between the years 1 and 9999.'
    when :delay not between 0 and 315576000000000 then 'The delay must be from 0 to 10 years.'
    when json_array_length(:keys) <> json_array_length(:payloads) then 'The keys must be as many as the payloads.'
    end as detail)
where detail is not null;

-- @raise invalid_name
select 'The key must have 1 to 500 bytes and no control characters.' as detail
from json_each(:keys)
where length(cast(value as blob)) not between 1 and 500 or value glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*'
limit 1;

-- @raise invalid_argument
select detail from (select case
    when :max_attempts not between 1 and 1000000 then 'The max_attempts must be from 1 to 1000000.'
    when :retry is not null and not cloaca_is_retry(:retry)
        then 'The retry policy must be an object with strategy (fixed, linear or exponential), initial and max (seconds from '
            || '0 to 315576000), jitter (from 0 to 1) and condition (all, never, transient or an object with a pattern).'
    end as detail)
where detail is not null;

-- Keys are free again when their task was cancelled while it ran, and the lease of its worker has ended.
insert into main.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts, lease_id, claimed_at,
    enqueued_at, execution, name, worker, key, payload, result, errors)
select t.id, t.queue, :now, 'cancelled', t.priority, t.run_at, t.attempt, t.max_attempts, t.lease_id, t.claimed_at,
    t.enqueued_at, t.execution, t.name, t.worker, t.key, t.payload, null, t.errors
from main.cloaca_task t join main.cloaca_queue q on q.queue = t.queue and q.retention > 0
where t.queue = :queue and t.key in (select value from json_each(:keys)) and t.cancelled and t.lease_until <= :now;

delete from main.cloaca_task
where queue = :queue and key in (select value from json_each(:keys)) and cancelled and lease_until <= :now;

insert into main.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, key, payload, retry)
with keyed (n, key) as materialized (
    select key, value from json_each(:keys) where value is not null
), first (key, n) as materialized (
    select key, min(n) from keyed group by key
)
select :queue, :priority, coalesce(:run_at, :now + :delay, :now),
    coalesce(:max_attempts, (select max_attempts from main.cloaca_queue where queue = :queue), 3), :now, :name, k.key,
    case
        when p.type in ('object', 'array') then p.value
        when p.type = 'text' then json_quote(p.value)
        when p.type in ('true', 'false') then p.type
        when typeof(p.value) = 'integer' then p.value
        else :payloads -> p.fullkey
        end, :retry
from json_each(:payloads) p left join keyed k on k.n = p.key left join first f on f.key = k.key
where k.key is null
    or k.n = f.n
    and not exists (select 1 from main.cloaca_task where queue = :queue and key = k.key)
    and not exists (select 1 from main.cloaca_finished_key where queue = :queue and key = k.key and until > :now)
order by p.key;

with keyed (n, key) as materialized (
    select key, value from json_each(:keys) where value is not null
), first (key, n, task) as materialized (
    select key, min(n), coalesce((select id from main.cloaca_task where queue = :queue and key = keyed.key),
        (select task from main.cloaca_finished_key where queue = :queue and key = keyed.key))
    from keyed group by key
), item (n, task, created) as (
    select p.key, f.task, f.key is null or (p.key = f.n and changes() > 0 and f.task > last_insert_rowid() - changes())
    from json_each(:payloads) p left join keyed k on k.n = p.key left join first f on f.key = k.key
)
select coalesce(task, last_insert_rowid() - changes() + sum(created) over (order by n)) as task, created
from item order by n;
