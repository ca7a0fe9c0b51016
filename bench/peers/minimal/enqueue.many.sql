-- step enqueue
insert into minimal.task (payload) select p from unnest(array_fill(jsonb '{"n": 1}', array[$batch::integer])) p returning id
