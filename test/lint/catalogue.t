#!/usr/bin/perl
# What PostgreSQL has in its catalogue after create extension, and after the script that needs no library, is what the signatures and
# the manifest promise. Runs against the server of PGHOST, in two databases of its own.
use strict;
use warnings;
use Test::More;
use lib 'sql';
use parts;

my %manifest = map { $_->{name} => $_ } parts::manifest();
my %signature = map { my $text = parts::read_file("sql/$_->{noun}/$_->{name}.postgres.sql"); $_->{name} => parts::signature($text) }
    grep { $_->{dialects} ne 'helper' } values %manifest;

for my $kind ('extension', 'script') {
    my $database = "lint_$kind";
    system('createdb', $database) == 0 or BAIL_OUT("cannot create $database");
    my @load = $kind eq 'extension' ? ('-c', 'create extension cloaca') : ('-f', 'build/cloaca-sql-only.sql');
    my $loaded = system('psql', '-1qX', '-v', 'ON_ERROR_STOP=1', '-d', $database, @load) == 0;
    ok($loaded, "$kind: loads") or next;
    functions($kind, $database);
    signatures($kind, $database);
    security($kind, $database);
    tenant_tables($kind, $database);
}
done_testing();

# The functions of the manifest that a product has: the SQL path of a function in C has the function's own name in the script.
sub names {
    my ($kind) = @_;
    return sort grep { is_in($kind, $manifest{$_}) } keys %manifest;
}

sub is_in {
    my ($kind, $function) = @_;
    my $path = "sql/$function->{noun}/$function->{name}";
    return -e "$path.postgres.sql" if $kind eq 'extension';
    return 0 if $function->{name} =~ /^(.+)_sql\z/ && $manifest{$1};
    return !-e "$path.script.sql" || parts::read_file("$path.script.sql") =~ /^create /m;
}

sub functions {
    my ($kind, $database) = @_;
    my @found = map { $_->[0] } query($database, "select proname from pg_proc where pronamespace = 'cloaca'::regnamespace order by 1");
    is_deeply(\@found, [names($kind)], "$kind: the functions of the manifest, each once");
}

# Names, types, defaults and result columns, as the server sees them.
sub signatures {
    my ($kind, $database) = @_;
    my %type = map { @$_ } query($database, 'select t, pg_catalog.format_type(t::regtype, null) from unnest(array['
        . join(', ', map { "'$_'" } types()) . ']) t');
    my %found;
    push @{ $found{ $_->[0] } }, $_ for query($database, <<'SQL');
        select p.proname, p.prokind, a.name, pg_catalog.format_type(a.type, null),
            pg_catalog.pg_get_function_arg_default(p.oid, (row_number() over (partition by p.oid order by a.n))::integer), a.mode
        from pg_catalog.pg_proc p
        left join lateral unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
            with ordinality a (type, name, mode, n) on a.mode in ('i', 'b') or a.mode is null
        where p.pronamespace = 'cloaca'::regnamespace
        order by p.proname, a.n
SQL
    my @defaults;
    my %columns = columns($database);
    for my $name (sort keys %signature) {
        my $declared = $signature{$name};
        # The inout arguments of a procedure are what it returns, and can be left out.
        my @arguments = grep { length $_->[2] && $_->[5] ne 'b' } @{ $found{$name} // [] };
        my @returned = grep { $_->[5] eq 'b' } @{ $found{$name} // [] };
        is_deeply([map { $_->[4] } @returned], [map { "NULL::$_->[3]" } @returned], "$kind: inout arguments of $name");
        is_deeply([map { "$_->[2] $_->[3]" } @arguments], [map { "$_->{name} $type{$_->{type}}" } @{ $declared->{arguments} }],
            "$kind: arguments of $name") or next;
        push @defaults, map { [$name, $declared->{arguments}[$_], $arguments[$_][4]] } 0 .. $#arguments;
        my $is_procedure = $found{$name}[0][1] eq 'p';
        is($is_procedure, !!$declared->{procedure}, "$kind: $name is a procedure or a function, as its file says");
        my $result = !$is_procedure ? $columns{$name} : @returned ? join(', ', map { "$_->[2] $_->[3]" } @returned) : 'procedure';
        is($result, ref $declared->{result} ? join(', ', map { "$_->{name} $type{$_->{type}}" } @{ $declared->{result} }) : $declared->{result},
            "$kind: result of $name");
    }
    none("$kind: defaults of arguments", query($database, join ' union all ', map { different_default(@$_) } @defaults));
}

# Every type that a signature names.
sub types {
    my %types;
    for my $signature (values %signature) {
        $types{ $_->{type} } = 1 for @{ $signature->{arguments} }, ref $signature->{result} ? @{ $signature->{result} } : ();
    }
    return sort keys %types;
}

# A query that finds an argument whose default is not the one declared.
sub different_default {
    my ($name, $argument, $actual) = @_;
    my $declared = $argument->{default};
    my $differs = defined $declared && length $actual ? "($declared)::$argument->{type} is distinct from ($actual)::$argument->{type}"
        : defined $declared || length $actual ? 'true' : 'false';
    return "select '$name $argument->{name}' where $differs";
}

# The columns of every result, described without being computed.
sub columns {
    my ($database) = @_;
    my @functions = grep { !$signature{$_}{procedure} } sort keys %signature;
    my %columns;
    my $name;
    for my $row (query($database, join "\n", map { "\\echo \@$_\n" . call($signature{$_}) . ' \gdesc' } @functions)) {
        if ($row->[0] =~ /^\@(.*)/) {
            $name = $1;
        } else {
            push @{ $columns{$name} }, $row->[1] eq 'void' ? 'void' : "$row->[0] $row->[1]";
        }
    }
    return map { $_ => join ', ', @{ $columns{$_} // [] } } @functions;
}

sub call {
    my ($declared) = @_;
    return "select * from cloaca.$declared->{name}(" . join(', ', map { "$_->{name} => null::$_->{type}" } @{ $declared->{arguments} }) . ')';
}

# Who may execute what, and with whose search_path.
sub security {
    my ($kind, $database) = @_;
    my $of_cloaca = "from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
        where p.pronamespace = 'cloaca'::regnamespace";
    my $public = "exists (select from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
        where a.grantee = 0 and a.privilege_type = 'EXECUTE')";
    my $unpinned = "coalesce(not 'search_path=pg_catalog, pg_temp' = any (p.proconfig), true)";

    is_deeply([map { $_->[0] } query($database, "select p.proname $of_cloaca and $public order by 1")],
        [grep { $manifest{$_}{access} eq 'public' } names($kind)], "$kind: PUBLIC executes what the manifest says");
    none("$kind: every SECURITY DEFINER function is revoked from PUBLIC and has its search_path pinned",
        query($database, "select p.proname $of_cloaca and p.prosecdef and ($public or $unpinned)"));
    none("$kind: every body that is parsed when it runs has its search_path pinned",
        query($database, "select p.proname $of_cloaca and p.prosqlbody is null and l.lanname in ('sql', 'plpgsql')
            and $unpinned and not (p.prokind = 'p' and p.prosrc ~ '\\mcommit\\M')"));
    none("$kind: every PL/pgSQL body says what an ambiguous name means",
        query($database, "select p.proname $of_cloaca and l.lanname = 'plpgsql' and p.prosrc !~ '^\\s*#variable_conflict use_(column|variable)'"));
    none("$kind: PUBLIC has nothing on the relations of cloaca but to read usable_tenant",
        query($database, "select c.relname, a.privilege_type from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
            where c.relnamespace = 'cloaca'::regnamespace and a.grantee = 0
            and (c.relname, a.privilege_type) <> ('usable_tenant', 'SELECT')"));
}

# A tenant's tables, as they are made: what a distributed engine and a dump of the schema alone ask for.
sub tenant_tables {
    my ($kind, $database) = @_;
    query($database, "select cloaca.enqueue('lint')");
    my $of_tenant = "from pg_catalog.pg_class c where c.relnamespace = 'cloaca_default'::regnamespace and c.relkind in ('r', 'p')";
    my ($count) = query($database, "select count(*) $of_tenant");
    cmp_ok($count->[0], '>', 0, "$kind: the default tenant has tables");
    my %rules = (
        'has a primary key' => "not exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary)",
        'has no trigger of a user, rule or row security' => 'c.relhasrules or c.relrowsecurity
            or exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)',
        'is permanent and not inherited' => "c.relpersistence <> 'p' or c.relhassubclass or c.relispartition",
        'has types and defaults of pg_catalog alone' => "exists (select from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
            where a.attrelid = c.oid and not a.attisdropped and t.typnamespace <> 'pg_catalog'::regnamespace)",
        'has bigint identities only' => "exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid
            and a.attidentity <> '' and a.atttypid <> 'bigint'::regtype)",
        'is no member of the extension' => "exists (select from pg_catalog.pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
            and d.deptype = 'e')",
        'does not belong to who calls' => "c.relowner = (select oid from pg_catalog.pg_roles where rolname = current_user)",
    );
    none("$kind: every table of a tenant $_",
        query($database, "select c.relname $of_tenant and ($rules{$_})")) for sort keys %rules;
}

# A test that passes when a query found nothing, and shows the rows that it found.
sub none {
    my ($name, @rows) = @_;
    ok(!@rows, $name) or diag(map { "    @$_\n" } @rows);
}

# The rows of a query, each a list of texts; fails the test when psql does.
sub query {
    my ($database, $sql) = @_;
    open my $psql, '-|', 'psql', '-XAt', '-F', "\x1f", '-v', 'ON_ERROR_STOP=1', '-d', $database, '-c', '\set QUIET on', '-f', script($sql)
        or BAIL_OUT("psql: $!");
    local $/;
    my $answer = <$psql> // '';
    close $psql or fail("query: $sql");
    return map { [split /\x1f/, $_, -1] } split /\n/, $answer;
}

# psql reads meta-commands such as \gdesc from a file only.
sub script {
    my ($sql) = @_;
    my $file = "build/lint-$$.sql";
    parts::write_file($file, $sql =~ /\\gdesc\s*$/ ? "$sql\n" : "$sql;\n");
    return $file;
}

END {
    unlink "build/lint-$$.sql";
}
