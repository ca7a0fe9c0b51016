-- step enqueue
insert into plain.task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
select $queue, 0, now(), 3, now(), 'bench', p from unnest(array_fill(jsonb '{"n": 1}', array[$batch::integer])) p returning id
