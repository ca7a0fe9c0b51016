select from cloaca.current_tenant();
select count(*) from generate_series(0, :tasks - 1, 10000) done,
    cloaca.enqueue_many('bench', array_fill(jsonb '{"n": 1}', array[least(10000, :tasks - done)]), queue => 'bench');
