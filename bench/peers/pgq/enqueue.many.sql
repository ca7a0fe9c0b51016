-- step enqueue
select pgq.insert_event('bench0', 'bench', '{"n": 1}') from generate_series(1, $batch::integer)
