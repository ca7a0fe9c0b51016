-- PgQ hands out batches that its ticker has cut, to one consumer of a queue after the other. So each client has a queue, "bench" and
-- its number, with a consumer, and the ticker cuts after so many events as the batch is to have (ticker_max_count). There are no single
-- tasks, leases or retries of a batch by another worker.
create extension pgq;

create procedure bench_reset(clients integer, batch integer) language plpgsql as $$
begin
    perform pgq.drop_queue(queue_name, true) from pgq.queue;
    for n in 0 .. clients - 1 loop
        perform pgq.create_queue('bench' || n);
        perform pgq.set_queue_config('bench' || n, 'ticker_max_count', batch::text);
        -- The first tick says 1 whether there was an event or not; so let there be a number less, and count.sql is exact.
        perform nextval(queue_event_seq) from pgq.queue where queue_name = 'bench' || n;
        perform pgq.register_consumer('bench' || n, 'worker');
    end loop;
end
$$;

create procedure bench_fill(tasks integer, clients integer, batch integer) language plpgsql as $$
begin
    set synchronous_commit = off;
    for done in 0 .. tasks - 1 by clients * batch loop
        for n in 0 .. clients - 1 loop
            perform pgq.insert_event('bench' || n, 'bench', '{"n": 1}') from generate_series(1, batch);
        end loop;
        commit;
        for n in 0 .. clients - 1 loop
            perform pgq.ticker('bench' || n);
        end loop;
        commit;
    end loop;
end
$$;
