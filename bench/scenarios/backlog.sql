-- Times single claims inside the server, each in a transaction of its own; every claimed task is completed and replaced, so that the
-- backlog stays. The first ones, which load the functions, do not count.
do $$
declare
    begun timestamptz;
    took double precision;
    claimed record;
begin
    for n in 1 .. 270 loop
        begun := clock_timestamp();
        select c.task, c.lease_id into strict claimed from cloaca.claim('bench', 'bench') c;
        took := extract(epoch from clock_timestamp() - begun) * 1000000;
        perform cloaca.complete(claimed.task, claimed.lease_id);
        perform cloaca.enqueue('bench', queue => 'bench');
        if n > 20 then
            insert into latency values (took);
        end if;
        commit;
    end loop;
end
$$;
