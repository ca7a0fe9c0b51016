-- step tenant
select cloaca.set_tenant($tenant)
-- step claim
select * from cloaca.claim($queue, 'worker-1')
-- step complete
select cloaca.complete($task, $lease_id)
