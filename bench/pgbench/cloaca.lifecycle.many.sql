select array_agg(task) as tasks, array_agg(lease_id) as leases from cloaca.claim('bench', 'bench', :batch) \gset
select count(*) from cloaca.complete_many(:tasks, :leases);
