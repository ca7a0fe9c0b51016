-- @function wait_for_task(queues text[] = '{default}', timeout interval = null) -> ready boolean
--
-- Without the library it looks every 100 ms, and when the next task is due.
create procedure cloaca.wait_for_task(queues text[] default '{default}', timeout interval default null,
    inout ready boolean default null)
language plpgsql
as $$
#variable_conflict use_variable
-- A procedure that commits can have no SET clause: so every name is qualified.
declare
    microseconds pg_catalog.int8;
    finish pg_catalog.timestamptz;
    due pg_catalog.timestamptz;
    left_over pg_catalog.float8;
begin
    perform cloaca.refuse_transaction();
    perform cloaca.check_queues(queues);
    microseconds := cloaca.microseconds(timeout, 'timeout');
    finish := pg_catalog.clock_timestamp()
        operator(pg_catalog.+) (microseconds operator(pg_catalog.*) '1 microsecond'::pg_catalog.interval);
    loop
        select n.ready, n.due into strict ready, due from cloaca.next_task(cloaca.current_tenant(), queues, cloaca.now()) n;
        commit;
        exit when ready;
        left_over := pg_catalog.date_part('epoch', finish operator(pg_catalog.-) pg_catalog.clock_timestamp());
        exit when left_over operator(pg_catalog.<=) 0;
        perform pg_catalog.pg_sleep(greatest(0.001, least(0.1, left_over,
            pg_catalog.date_part('epoch', due operator(pg_catalog.-) cloaca.now()))));
    end loop;
end
$$;
