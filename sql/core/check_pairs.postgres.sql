-- @helper check_pairs
--
-- Refuses tasks and lease_ids that are null or not as many.
create function cloaca.check_pairs(tasks bigint[], lease_ids bigint[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if tasks is null or lease_ids is null or cardinality(tasks) <> cardinality(lease_ids)
        or array_ndims(tasks) > 1 or array_ndims(lease_ids) > 1 then
        perform cloaca.raise_condition('invalid_argument', 'The tasks and lease_ids must be arrays of the same length.');
    end if;
end
$$;
