-- step enqueue
insert into plain.task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
values ($queue, 0, now(), 3, now(), 'bench', '{"n": 1}') returning id
