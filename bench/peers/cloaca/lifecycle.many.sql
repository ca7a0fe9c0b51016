-- step claim
select * from cloaca.claim($queue, 'worker-1', $batch)
-- step complete
select * from cloaca.complete_many($task[], $lease_id[])
