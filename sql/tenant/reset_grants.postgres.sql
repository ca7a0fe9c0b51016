-- @helper reset_grants
--
-- Takes everyone's privileges on a schema and on cloaca's tables in it, but for their owners'.
create function cloaca.reset_grants(schema_name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    held record;
begin
    for held in
        select distinct o.target, case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee
        from (
            select format('schema %I', n.nspname), n.nspacl, n.nspowner from pg_namespace n where n.nspname = reset_grants.schema_name
            union all
            select format('%s %I.%I', case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname),
                c.relacl || coalesce((select array_agg(acl) from pg_attribute t cross join unnest(t.attacl) acl
                    where t.attrelid = c.oid), '{}'), c.relowner
            from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = reset_grants.schema_name
            where c.relname ~ '^cloaca_' and c.relkind in ('r', 'S')
        ) o (target, acl, owner)
        cross join lateral aclexplode(o.acl) a
        left join pg_roles r on r.oid = a.grantee
        where a.grantee <> o.owner
    loop
        execute format('revoke all on %s from %s cascade', held.target, held.grantee);
    end loop;
end
$$;
