-- step enqueue
select task, created from cloaca.enqueue_many('bench', array_fill(jsonb '{"n": 1}', array[$batch::integer]), queue => $queue)
