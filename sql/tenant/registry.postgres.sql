-- The registry: which schema is whose, a row for each tenant of this database. Only the extension's owner and the functions
-- of this folder read or write it; a tenant sees its own row through the view below.
create table cloaca.tenant (
    schema_name   text        primary key,
    username      text        unique,
    owner         text        not null unique,
    table_version integer     not null,
    state         text        not null default 'active',
    created_at    timestamptz not null
);

-- The tenants that the caller may use: those whose schema it has USAGE on.
create view cloaca.usable_tenant with (security_barrier) as
select schema_name, username, table_version
from cloaca.tenant
where state = 'active'
  and pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(pg_catalog.quote_ident(schema_name)), 'usage');

revoke all on cloaca.tenant, cloaca.usable_tenant from public;
grant select on cloaca.usable_tenant to public;

-- What create_tenant, adopt_tenant and rotate_password answer with.
create type cloaca.tenant_credentials as (
    username          text,
    password          text,
    schema_name       text,
    connection_string text
);
