insert into plain.task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
values ('bench', 0, clock_timestamp(), 3, clock_timestamp(), 'bench', '{"n": 1}') returning id;
