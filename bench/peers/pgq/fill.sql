call bench_fill(:tasks, :clients, :batch);
