-- @helper foreign_dependents
--
-- What of others would go with a tenant: objects outside its schema, not its role's own, that depend on what it has.
create function cloaca.foreign_dependents(schema_name text, username text) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive gone (classid, objid) as (
        select o.classid, o.objid from cloaca.tenant_objects(foreign_dependents.schema_name, foreign_dependents.username) o
        union
        -- Whatever depends on it, and, when a part of something goes, that thing: the view, when its rule goes.
        select n.classid, n.objid from gone g cross join lateral (
            select d.classid, d.objid from pg_depend d where d.refclassid = g.classid and d.refobjid = g.objid
            union all
            select d.refclassid, d.refobjid from pg_depend d
            where d.classid = g.classid and d.objid = g.objid and d.deptype = 'i') n
    ), object (classid, objid, namespace, owner) as (
        -- A default, constraint, trigger or policy counts as its table; row and array types are not told.
        select 'pg_class'::regclass, c.oid, c.relnamespace, c.relowner
        from gone g
        left join pg_attrdef a on g.classid = 'pg_attrdef'::regclass and a.oid = g.objid
        left join pg_constraint k on g.classid = 'pg_constraint'::regclass and k.oid = g.objid
        left join pg_trigger r on g.classid = 'pg_trigger'::regclass and r.oid = g.objid
        left join pg_policy l on g.classid = 'pg_policy'::regclass and l.oid = g.objid
        join pg_class c on c.relkind not in ('i', 'I', 't') and c.oid = coalesce(a.adrelid, nullif(k.conrelid, 0), r.tgrelid,
            l.polrelid, case g.classid when 'pg_class'::regclass then g.objid end)
        union
        select g.classid, p.oid, p.pronamespace, p.proowner
        from gone g join pg_proc p on g.classid = 'pg_proc'::regclass and p.oid = g.objid
        union
        select g.classid, t.oid, t.typnamespace, t.typowner
        from gone g join pg_type t on g.classid = 'pg_type'::regclass and t.oid = g.objid
        where t.typrelid = 0 and t.typelem = 0
    )
    select pg_describe_object(o.classid, o.objid, 0)
    from object o join pg_namespace n on n.oid = o.namespace join pg_roles r on r.oid = o.owner
    where n.nspname <> foreign_dependents.schema_name and n.nspname !~ '^pg_(toast|temp)'
        and r.rolname is distinct from foreign_dependents.username
    order by 1
$$;
