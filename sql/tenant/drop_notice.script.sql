-- @helper drop_notice
--
-- Says which schemas of tenants stay behind when the schema cloaca is dropped: to be called before that, since only the extension
-- can have the event trigger that does it by itself.
create function cloaca.drop_notice() returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    names constant text := (select string_agg(quote_ident(t.schema_name), ', ' order by t.schema_name) from cloaca.tenant t);
begin
    if names is not null then
        raise notice 'the schemas of tenants stay, with all that is in them: %', names;
    end if;
end
$$;
