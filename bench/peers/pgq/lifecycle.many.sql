-- step next
select batch_id from pgq.next_batch('bench' || $client, 'worker') batch_id
-- step claim
select * from pgq.get_batch_events($batch_id)
-- step complete
select pgq.finish_batch($batch_id)
