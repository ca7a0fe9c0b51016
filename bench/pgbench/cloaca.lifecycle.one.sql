select * from cloaca.claim('bench', 'bench') \gset
select cloaca.complete(:task, :lease_id);
