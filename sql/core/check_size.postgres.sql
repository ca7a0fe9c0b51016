-- @helper check_size
--
-- Refuses a document whose text is larger than 64 MiB, the limit on every backend. A small one is not measured: a number takes at most
-- some 13,000 times as much room in text as in jsonb, so nothing below 5,000 bytes can be too large. A document whose text does not
-- even fit into memory would be stored, and then stop every claim that meets it.
create function cloaca.check_size(document jsonb, what text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_large boolean;
begin
    if pg_column_size(document) <= 5000 then
        return;
    end if;
    begin
        is_large := octet_length(document::text) > 67108864;
    exception when program_limit_exceeded or out_of_memory then
        is_large := true;
    end;
    if is_large then
        perform cloaca.raise_condition('invalid_argument', format('The %s must have at most 64 MiB.', what));
    end if;
end
$$;
