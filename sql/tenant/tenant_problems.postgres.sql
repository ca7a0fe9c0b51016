-- @helper tenant_problems
--
-- In what a tenant is no longer as it was made, a sentence each.
create function cloaca.tenant_problems(tenant cloaca.tenant) returns setof text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    login record;
    namespace record;
begin
    select r.oid, r.rolcanlogin into login from pg_roles r where r.rolname = tenant.username;
    select n.oid, n.nspacl, n.nspowner::regrole::text as owner into namespace
    from pg_namespace n where n.nspname = tenant.schema_name;

    if namespace.oid is null then
        return next format('Schema "%s" does not exist.', tenant.schema_name);
    elsif namespace.owner <> quote_ident(tenant.owner) then
        return next format('Schema "%s" belongs to %s, not to "%s".', tenant.schema_name, namespace.owner, tenant.owner);
    end if;
    if not exists (select from pg_roles r where r.rolname = tenant.owner) then
        return next format('Role "%s" does not exist.', tenant.owner);
    end if;
    if tenant.username is not null and login.oid is null then
        return next format('Role "%s" does not exist.', tenant.username);
    end if;
    if tenant.table_version <> cloaca.table_version() then
        return next format('The tables have version %s, the functions need %s.', tenant.table_version, cloaca.table_version());
    elsif namespace.oid is not null and current_setting('transaction_read_only') = 'off' then
        return query select format('The tables differ, %s.', p.problem) from cloaca.shape_problems(tenant.schema_name) p (problem);
    end if;
    if login.oid is not null and namespace.oid is not null then
        return query select p.problem from cloaca.login_problems(tenant.schema_name, tenant.username) p (problem);
    end if;
    -- Only a superuser may look at that.
    if login.oid is not null and has_table_privilege('pg_authid', 'select') then
        return query select format('Role "%s" has no password.', a.rolname) from pg_authid a
            where a.oid = login.oid and a.rolpassword is null;
    end if;
    return query
        select format('%s has %s on schema "%s".', coalesce('Role ' || nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type,
            tenant.schema_name)
        from aclexplode(namespace.nspacl) a
        where a.grantee = 0 or a.privilege_type = 'CREATE' and a.grantee::regrole::text not in
            (quote_ident(tenant.owner), quote_ident(tenant.username));
    return query
        select format('%s has %s on "%s".', coalesce('Role ' || nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), a.privilege_type,
            c.relname)
        from pg_class c cross join lateral aclexplode(c.relacl) a
        where c.relnamespace = namespace.oid and c.relkind = 'r' and c.relowner::regrole::text = quote_ident(tenant.owner)
            and a.grantee <> c.relowner
            and (a.grantee = 0 or a.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE'));
end
$$;
