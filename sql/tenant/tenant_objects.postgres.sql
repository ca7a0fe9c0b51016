-- @helper tenant_objects
--
-- What a tenant has in this database: every object in its schema, and what its role owns elsewhere; without what belongs to
-- another object (indexes, row types, identity sequences) or to an extension. `has_children`: other tables inherit from it.
create function cloaca.tenant_objects(schema_name text, username text)
returns table (classid oid, objid oid, has_children boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select o.classid, o.objid,
        o.classid = 'pg_class'::regclass and exists (select from pg_inherits i where i.inhparent = o.objid)
    from (
        select d.classid, d.objid from pg_depend d
        where d.refclassid = 'pg_namespace'::regclass and d.deptype = 'n'
            and d.refobjid = to_regnamespace(quote_ident(tenant_objects.schema_name))
        union
        select s.classid, s.objid from pg_shdepend s
        where s.refclassid = 'pg_authid'::regclass and s.deptype = 'o'
            and s.refobjid = (select r.oid from pg_roles r where r.rolname = tenant_objects.username)
            and s.dbid = (select d.oid from pg_database d where d.datname = current_database())
            and s.classid not in ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
    ) o
    where not exists (select from pg_depend i
        where i.classid = o.classid and i.objid = o.objid and i.objsubid = 0 and i.deptype in ('i', 'e'))
$$;
