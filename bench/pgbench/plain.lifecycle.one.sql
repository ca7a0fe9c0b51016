update plain.task t set lease_id = (random() * 1e18)::bigint, lease_until = clock_timestamp() + interval '30 s',
    claimed_at = clock_timestamp(), attempt = attempt + 1, worker = 'bench'
where t.id = (select id from plain.task where queue = 'bench' and run_at <= clock_timestamp() and not cancelled
    and (lease_id is null or (lease_until <= clock_timestamp() and attempt < max_attempts))
    order by priority, run_at, id limit 1 for update skip locked)
returning t.id as task, t.lease_id, t.attempt, t.name, t.payload, t.priority, t.run_at, t.lease_until, t.max_attempts,
    t.execution \gset
delete from plain.task where id = :task and lease_id = :lease_id;
