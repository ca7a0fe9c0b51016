insert into minimal.task (payload) select '{"n": 1}' from generate_series(1, :tasks);
