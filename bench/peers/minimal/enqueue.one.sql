-- step enqueue
insert into minimal.task (payload) values ('{"n": 1}') returning id
