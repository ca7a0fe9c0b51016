-- @helper drop_objects
--
-- Drops up to max objects of a tenant, fewer when the locks taken would fill a quarter of the server's lock table. The newest go
-- first, and tables that others inherit from last: so that little goes in cascade, whatever depends on what.
--
-- Returns: how many remain, counting those that went in cascade until the next call
create function cloaca.drop_objects(schema_name text, username text, max integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    object record;
    found_object record;
    remaining bigint := 0;
    seen integer := 0;
    enough constant integer := current_setting('max_locks_per_transaction')::integer
        * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer) / 4;
begin
    for object in
        select o.classid, o.objid, count(*) over () as total
        from cloaca.tenant_objects(drop_objects.schema_name, drop_objects.username) o
        order by o.has_children, o.objid desc limit drop_objects.max
    loop
        seen := seen + 1;
        remaining := object.total - seen;
        select i.type, i.identity into found_object from pg_identify_object(object.classid, object.objid, 0) i;
        if object.classid = 'pg_largeobject'::regclass then
            perform lo_unlink(object.objid);
        elsif found_object.identity is not null then
            execute format('drop %s %s cascade', cloaca.object_kind(found_object.type), found_object.identity);
        end if; -- Without an identity, it went with another one.
        exit when seen % 50 = 0 and (select count(*) from pg_locks l where l.pid = pg_backend_pid()) > enough;
    end loop;
    return remaining;
end
$$;
