-- @helper reset_owners
--
-- Gives cloaca's tables in a schema, whose shape has been checked, to the owner role, and whatever else is in it to the login role.
create function cloaca.reset_owners(schema_name text, owner text, username text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    object record;
    found_object record;
    ours constant text[] := (select e.tables from cloaca.expected_shape() e);
begin
    for object in
        select o.classid, o.objid, c.relname = any (ours) as is_ours
        from cloaca.tenant_objects(reset_owners.schema_name, null) o
        left join pg_class c on o.classid = 'pg_class'::regclass and c.oid = o.objid
        -- A sequence that belongs to a column follows its table.
        where not exists (select from pg_depend d where d.classid = o.classid and d.objid = o.objid
            and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype = 'a')
        order by o.objid
    loop
        select i.type, i.identity into found_object from pg_identify_object(object.classid, object.objid, 0) i;
        continue when found_object.type in ('extension', 'text search parser', 'text search template');
        execute format('alter %s %s owner to %I', cloaca.object_kind(found_object.type), found_object.identity,
            case when object.is_ours then reset_owners.owner else reset_owners.username end);
    end loop;
end
$$;
