-- step claim
update minimal.task set lease = now() + interval '30 s'
where id = (select id from minimal.task where (lease is null or lease < now())
    and (select set_config('synchronous_commit', 'off', true)) = 'off' order by id limit 1 for update skip locked)
returning id, payload
-- step complete
delete from minimal.task where id = $id
