-- @function grant_admin(role text) -> void
--
-- Lets a role administer the tenants of this database: it may execute the admin functions, which do their work with the rights of
-- the extension's owner. The role needs neither superuser nor CREATEROLE.
--
-- role: the role; no tenant's
-- Errors: invalid_argument
-- Writes: grants
create function cloaca.grant_admin(role text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.check_grantee(grant_admin.role);
    if exists (select from cloaca.tenant t
            where grant_admin.role = t.username or grant_admin.role = t.owner) then
        perform cloaca.raise_condition('invalid_argument', format('Role "%s" is a tenant''s.', grant_admin.role));
    end if;
    perform cloaca.grant_connect(grant_admin.role);
    execute format('grant execute on routine %s to %I', '@ADMIN_FUNCTIONS@', grant_admin.role);
end
$$;
