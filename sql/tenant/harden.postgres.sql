-- @function harden(other_databases boolean = false) -> object text, privilege text, action text
--
-- Takes from PUBLIC what it has by default and no tenant is to have: CONNECT and TEMPORARY on this database, CREATE and USAGE on the
-- schema public. Tenants, admins and those of grant_tenant may connect by grants of their own; other roles of yours need
-- one. It can be repeated.
--
-- other_databases: also takes CONNECT and TEMPORARY on every other database of the server, so that tenants of this one connect
--     to no other
-- Returns: a row for each privilege: revoked, absent (PUBLIC did not have it), or refused (the extension's owner may not revoke it)
-- Errors: none
-- Writes: grants
create function cloaca.harden(other_databases boolean default false) returns table (object text, privilege text, action text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    target record;
begin
    perform cloaca.lock_connect();
    perform cloaca.grant_connect(current_user);
    for target in
        select format('database %I', d.datname) as name, p.privilege, d.datname <> current_database() as is_other,
            pg_has_role(d.datdba, 'usage') as is_ours,
            exists (select from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                where a.grantee = 0 and a.privilege_type = p.privilege) as is_granted
        from pg_database d cross join (values ('CONNECT'), ('TEMPORARY')) p (privilege)
        where d.datallowconn and (d.datname = current_database() or harden.other_databases)
        union all
        select 'schema public', p.privilege, false, pg_has_role(n.nspowner, 'usage'),
            exists (select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                where a.grantee = 0 and a.privilege_type = p.privilege)
        from pg_namespace n cross join (values ('CREATE'), ('USAGE')) p (privilege)
        where n.nspname = 'public'
        order by 3, 1, 2
    loop
        object := target.name;
        privilege := lower(target.privilege);
        action := case when not target.is_granted then 'absent' when target.is_ours then 'revoked' else 'refused' end;
        if action = 'revoked' then
            execute format('revoke %s on %s from public', target.privilege, target.name);
        end if;
        return next;
    end loop;
end
$$;
