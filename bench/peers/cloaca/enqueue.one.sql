-- step enqueue
select task, created from cloaca.enqueue('bench', '{"n": 1}', queue => $queue)
