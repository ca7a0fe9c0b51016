insert into plain.task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
select 'bench', 0, now(), 3, now(), 'bench', '{"n": 1}' from generate_series(1, :tasks);
