-- step claim
update minimal.task set lease = now() + interval '30 s'
where id = (select id from minimal.task where lease is null or lease < now() order by id limit 1 for update skip locked)
returning id, payload
-- step complete
delete from minimal.task where id = $id
