-- step claim
update plain.task t set lease_id = (random() * 1e18)::bigint, lease_until = now() + interval '30 s', claimed_at = now(),
    attempt = attempt + 1, worker = 'worker-1'
where t.id = any (array(select id from plain.task where queue = $queue and run_at <= now()
    and (select set_config('synchronous_commit', 'off', true)) = 'off'
    and not cancelled
    and (lease_id is null or (lease_until <= now() and attempt < max_attempts))
    order by priority, run_at, id limit $batch for update skip locked))
returning t.id as task, t.lease_id, t.attempt, t.name, t.payload, t.priority, t.run_at, t.lease_until, t.max_attempts, t.execution
-- step complete
delete from plain.task t using unnest($task[]::bigint[], $lease_id[]::bigint[]) p (id, lease) where t.id = p.id and t.lease_id = p.lease
