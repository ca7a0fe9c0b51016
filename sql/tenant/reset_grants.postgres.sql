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
        select distinct a.target, case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee
        from (
            select format('schema %I', n.nspname), e.grantee, n.nspowner
            from pg_namespace n cross join lateral aclexplode(n.nspacl) e
            where n.nspname = reset_grants.schema_name
            union all
            select format('%s %I.%I', case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname),
                e.grantee, c.relowner
            from pg_namespace n
            join pg_class c on c.relnamespace = n.oid and c.relname ~ '^cloaca_' and c.relkind in ('r', 'S')
            cross join lateral (
                select x.grantee from aclexplode(c.relacl) x
                union all
                select x.grantee from pg_attribute t cross join lateral aclexplode(t.attacl) x where t.attrelid = c.oid) e
            where n.nspname = reset_grants.schema_name
        ) a (target, grantee, owner)
        left join pg_roles r on r.oid = a.grantee
        where a.grantee <> a.owner
    loop
        execute format('revoke all on %s from %s cascade', held.target, held.grantee);
    end loop;
end
$$;
