-- @helper adopt
--
-- Makes a tenant of a schema that is there, but for its password: see adopt_tenant. Without a username it is the default tenant.
--
-- Returns: the credentials, without a password
-- Errors: those of check_tenant_names and check_adoptable
create function cloaca.adopt(schema_name text, username text) returns cloaca.tenant_credentials
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    owner text;
begin
    perform cloaca.check_tenant_names(adopt.schema_name, adopt.username);
    perform cloaca.check_adoptable(adopt.schema_name, adopt.username);
    delete from cloaca.tenant t where t.schema_name = adopt.schema_name;

    select r.rolname into owner
    from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where n.nspname = adopt.schema_name and r.rolname ~ '^cloaca_owner_[0-9a-f]{16}$' and not r.rolcanlogin
        and not exists (select from cloaca.tenant t where t.owner = r.rolname);
    if found then
        perform cloaca.check_role(owner);
        perform cloaca.take_role(owner);
    else
        owner := cloaca.create_owner(adopt.schema_name);
    end if;
    if adopt.username is null then
        null;
    elsif exists (select from pg_roles r where r.rolname = adopt.username) then
        execute format('alter role %I login', adopt.username);
        perform cloaca.take_role(adopt.username);
    else
        perform cloaca.create_login(adopt.username, null, null);
    end if;

    execute format('alter schema %I owner to %I', adopt.schema_name, owner);
    perform cloaca.reset_grants(adopt.schema_name);
    if adopt.username is not null then
        execute format('grant usage, create on schema %I to %I', adopt.schema_name, adopt.username);
    end if;
    perform cloaca.reset_owners(adopt.schema_name, owner, coalesce(adopt.username, owner));
    return cloaca.register(adopt.schema_name, owner, adopt.username);
exception
    when duplicate_object or unique_violation then
        perform cloaca.raise_condition('name_taken',
            format('Schema "%s" or its role was taken by someone else just now.', adopt.schema_name));
    when lock_not_available then
        perform cloaca.raise_condition('tenant_in_use',
            format('Another session holds a lock on "%s", or on the registry of tenants.', adopt.schema_name));
end
$$;
