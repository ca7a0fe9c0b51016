-- @function wait_for_execution(execution bigint, timeout interval = null) -> state text
--
-- Without the library it looks every 100 ms.
create procedure cloaca.wait_for_execution(execution bigint, timeout interval default null, inout state text default null)
language plpgsql
as $$
#variable_conflict use_variable
-- A procedure that commits can have no SET clause: so every name is qualified.
declare
    microseconds pg_catalog.int8;
    finish pg_catalog.timestamptz;
    left_over pg_catalog.float8;
begin
    perform cloaca.refuse_transaction();
    microseconds := cloaca.microseconds(timeout, 'timeout');
    finish := pg_catalog.clock_timestamp()
        operator(pg_catalog.+) (microseconds operator(pg_catalog.*) '1 microsecond'::pg_catalog.interval);
    loop
        state := cloaca.final_state(execution);
        commit;
        exit when state is not null;
        left_over := pg_catalog.date_part('epoch', finish operator(pg_catalog.-) pg_catalog.clock_timestamp());
        exit when left_over operator(pg_catalog.<=) 0;
        perform pg_catalog.pg_sleep(greatest(0.001, least(0.1, left_over)));
    end loop;
end
$$;
