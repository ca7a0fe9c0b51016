-- step claim
update minimal.task set lease = now() + interval '30 s'
where id = any (array(select id from minimal.task where lease is null or lease < now() order by id limit $batch for update skip locked))
returning id, payload
-- step complete
delete from minimal.task where id = any ($id[]::bigint[])
