-- step enqueue
select pgq.insert_event('bench0', 'bench', '{"n": 1}')
