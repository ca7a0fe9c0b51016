insert into plain.task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
select 'bench', 0, clock_timestamp(), 3, clock_timestamp(), 'bench', p from unnest(array_fill(jsonb '{"n": 1}', array[:batch::integer])) p
returning id;
