-- @helper check_adoptable
--
-- Refuses a schema that cannot become a tenant. Its tables are locked first, so that what has been looked at stays as it is.
--
-- Errors: unknown_tenant, name_taken, tenant_in_use, invalid_argument, insufficient_privilege
create function cloaca.check_adoptable(schema_name text, username text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    namespace record;
    registered cloaca.tenant;
    relation record;
    problems text[];
begin
    select n.oid, n.nspacl, r.rolname as owner into namespace
    from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = check_adoptable.schema_name;
    if not found then
        perform cloaca.raise_condition('unknown_tenant', format('Schema "%s" does not exist.', check_adoptable.schema_name));
    end if;
    select * into registered from cloaca.tenant t where t.schema_name = check_adoptable.schema_name for update;
    if registered.state = 'dropping' then
        perform cloaca.raise_condition('tenant_in_use', format('Tenant "%s" is being dropped.', check_adoptable.schema_name));
    elsif registered.owner = namespace.owner
        and (registered.username is null or exists (select from pg_roles r where r.rolname = registered.username)) then
        perform cloaca.raise_condition('name_taken', format('Schema "%s" is a tenant already.', check_adoptable.schema_name));
    elsif exists (select from cloaca.tenant t
            where t.username = check_adoptable.username and t.schema_name <> check_adoptable.schema_name) then
        perform cloaca.raise_condition('name_taken', format('Role "%s" is another tenant''s.', check_adoptable.username));
    end if;

    if exists (select from pg_roles r where r.rolname = check_adoptable.username) then
        perform cloaca.check_role(check_adoptable.username);
        if not exists (select from aclexplode(namespace.nspacl) a join pg_roles r on r.oid = a.grantee
                where r.rolname = check_adoptable.username and a.privilege_type = 'CREATE') then
            perform cloaca.raise_condition('name_taken',
                format('Role "%s" exists, and is not the one of schema "%s".', check_adoptable.username,
                    check_adoptable.schema_name));
        end if;
    end if;

    for relation in
        select c.relname from pg_class c
        where c.relnamespace = namespace.oid and c.relkind = 'r' and c.relname ~ '^cloaca_'
    loop
        execute format('lock table only %I.%I in access exclusive mode', check_adoptable.schema_name, relation.relname);
    end loop;
    problems := array(select p.problem from cloaca.shape_problems(check_adoptable.schema_name) p (problem));
    if cardinality(problems) > 0 then
        perform cloaca.raise_condition('invalid_argument', format('The tables of schema "%s" are not as cloaca makes them: %s.',
            check_adoptable.schema_name, array_to_string(problems[1:3], '; ')));
    end if;
end
$$;
