-- @helper check_queues
--
-- Refuses what is no plain array of 1 to 1,000 names of queues.
create function cloaca.check_queues(queues text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if queues is null or array_ndims(queues) > 1 or cardinality(queues) not between 1 and 1000
        or array_position(queues, null) is not null then
        perform cloaca.raise_condition('invalid_argument', 'The queues must be an array of 1 to 1000 names.');
    end if;
    perform cloaca.check_name(q.queue, 'queue name') from unnest(queues) as q (queue);
end
$$;
