-- @function set_queue(queue text, paused boolean = null, lease interval = null, max_attempts integer = null, retry jsonb = null, retention interval = null, key_retention interval = null) -> queue text, paused boolean, lease interval, max_attempts integer, retry jsonb, retention interval, key_retention interval
--
-- A queue's row is made here alone, with the defaults of the table.

-- @raise invalid_name
select 'The queue name must have 1 to 200 bytes and no control characters.' as detail
where :queue is null or length(cast(:queue as blob)) not between 1 and 200 or :queue glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select detail from (select case
    when :lease not between 1 and 315576000000000 then 'The lease must be more than 0 and at most 10 years.'
    when :max_attempts not between 1 and 1000000 then 'The max_attempts must be from 1 to 1000000.'
    when :retry is not null and not cloaca_is_retry(:retry)
        then 'The retry policy must be an object with strategy (fixed, linear or exponential), initial and max (seconds from '
            || '0 to 315576000), jitter (from 0 to 1) and condition (all, never, transient or an object with a pattern).'
    when :retention not between 0 and 315576000000000 then 'The retention must be from 0 to 10 years.'
    when :key_retention not between 0 and 315576000000000 then 'The key_retention must be from 0 to 10 years.'
    end as detail)
where detail is not null;

insert or ignore into main.cloaca_queue (queue, created_at) values (:queue, :now);

update main.cloaca_queue set paused = coalesce(:paused, paused), lease = coalesce(:lease, lease),
    max_attempts = coalesce(:max_attempts, max_attempts), retry = coalesce(:retry, retry),
    retention = coalesce(:retention, retention), key_retention = coalesce(:key_retention, key_retention)
where queue = :queue;

select queue, paused, lease, max_attempts, retry, retention, key_retention from main.cloaca_queue where queue = :queue;
