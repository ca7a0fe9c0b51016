call bench_reset(:clients, :batch);
