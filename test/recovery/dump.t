#!/usr/bin/perl
# A database with tenants and tasks comes back from a dump: the whole server, the whole database, or the schema of one tenant alone,
# which adopt_tenant makes a tenant again. Also: drop extension, create extension, and everything is found again.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;

my ($part, $folder) = @ARGV;
if (!$part) {
    alarm 1800;    # Outlives the exec.
    exec 'test/cluster', '--', $^X, $0, 'source', tempdir(CLEANUP => 0);
}
my %parts = (source => \&source, server => \&server, schema => \&schema);
$parts{$part}->();
done_testing();

# Fills a server, dumps it, and starts one more server for each dump.
sub source {
    run('postgres', 'create database app');
    run('app', 'create extension cloaca');
    my $url = run('app', "select connection_string from cloaca.create_tenant('acme', 'acme_user')");
    my ($password) = $url =~ m{//acme_user:(\w+)@} or die "no password in $url\n";
    run('app', "select cloaca.enqueue('default task')");
    run('app', "select cloaca.harden()");
    run($url, "select cloaca.set_queue('default', retention => '1 day');
        select cloaca.enqueue('first', '{\"n\": 1}'), cloaca.enqueue('second', key => 'k');
        create table own (id serial primary key, word text); insert into own (word) values ('kept');
        create view looks as select word from own; create function answer() returns integer language sql as 'select 42'");
    run($url, "select cloaca.complete(task, lease_id, '\"done\"') from cloaca.claim()");
    my $tasks = run($url, 'select task, name, state from cloaca.list_tasks()');
    is($tasks, "1|first|completed\n2|second|ready", 'the tenant has tasks');

    # Within the same server, whose roles are there.
    shell("pg_dump -Fc app >$folder/app.dump && createdb copy && pg_restore -d copy $folder/app.dump");
    (my $copy_url = $url) =~ s{/app\b}{/copy};
    is(run($copy_url, 'select task, name, state from cloaca.list_tasks()'), $tasks, 'whole database: the tasks are there');
    is(run($copy_url, "select task, created from cloaca.enqueue('third')"), '3|t', 'whole database: the ids go on');
    is(run('copy', 'select name from cloaca.list_tasks()'), 'default task', 'whole database: those of the default tenant too');
    is(run('copy', "select problems from cloaca.tenant_status('acme')"), '{}', 'whole database: the tenant has no problems');
    like(run('copy', "select cloaca.drop_tenant('acme')"), qr/tenant is in use.*Role "\w+" has objects in database "app"/s,
        'a tenant whose roles have objects in another database is not dropped');
    shell('dropdb -f copy');

    # The extension goes and comes back.
    like(run('app', 'drop extension cloaca'), qr/NOTICE:  the schemas of tenants stay, with all that is in them: acme, cloaca_default\n/,
        'drop extension names the schemas that stay');
    is(run('app', "select count(*) from pg_namespace where nspname = 'cloaca'"), '0', 'and leaves nothing else');
    run('app', 'create extension cloaca');
    is(run('app', "select password from cloaca.adopt_tenant('acme', 'acme_user')"), '', 'create extension, adopt: the password stays');
    is(run($url, 'select task, name, state from cloaca.list_tasks()'), $tasks, 'and the tenant goes on with it');
    is(run('app', 'select name from cloaca.list_tasks()'), 'default task', 'the default tenant is adopted at its first use');

    shell("pg_dumpall >$folder/all.sql && pg_dump -n acme app >$folder/acme.sql");
    write_file("$folder/password", $password);
    write_file("$folder/tasks", $tasks);
    for my $next (qw(server schema)) {
        my $output = `test/cluster -- $^X $0 $next $folder 2>&1`;
        is($?, 0, "restored: $next") or diag($output);
    }
    shell("rm -r $folder");
}

# Everything, with the roles.
sub server {
    shell("psql -qX -d postgres -f $folder/all.sql >/dev/null 2>&1");
    my $url = url('acme_user', read_file("$folder/password"), 'app');
    is(run($url, 'select task, name, state from cloaca.list_tasks()'), read_file("$folder/tasks"), 'the tenant logs in with its password');
    is(run('app', "select problems from cloaca.tenant_status('acme')"), '{}', 'it has no problems');
    is(run('app', "select schema_name, username from cloaca.list_tenants()"), "acme|acme_user\ncloaca_default|", 'the registry is back');
    is(dropped('acme'), '', 'it can be dropped');
    is(run('app', "select count(*) from pg_roles where rolname = 'acme_user'"), '0', 'with its role');
}

# One schema, without roles, into a database that has another tenant.
sub schema {
    run('postgres', 'create database app');
    run('app', 'create extension cloaca');
    run('app', "select cloaca.create_tenant('neighbour', 'neighbour_user')");
    run('app', "create role reader");
    shell("psql -qX -d app -f $folder/acme.sql >/dev/null 2>&1");
    run('app', "grant select on acme.cloaca_task to reader; grant usage on schema acme to public");
    my $url = run('app', "select connection_string from cloaca.adopt_tenant('acme', 'acme_user')");
    is(run($url, 'select task, name, state from cloaca.list_tasks()'), read_file("$folder/tasks"), 'the tasks are there');
    is(run($url, "select name, payload from cloaca.claim()"), 'second|{}', 'and can be worked on');
    is(run($url, "select task from cloaca.enqueue('third')"), '3', 'the ids go on');
    is(run($url, 'select word, answer() from looks'), 'kept|42', 'what the tenant made itself works');
    is(run($url, "insert into own (word) values ('more') returning id"), '2', 'and is its own');
    is(run('app', "select tableowner from pg_tables where schemaname = 'acme' and tablename = 'own'"), 'acme_user', 'as the owner');
    like(run($url, 'drop table cloaca_task'), qr/must be owner/, "cloaca's tables are not");
    is(run('app', "select has_table_privilege('reader', 'acme.cloaca_task', 'select'), has_schema_privilege('reader', 'acme', 'usage')"),
        'f|f', 'grants that came with the restore are gone');
    is(run('app', "select problems from cloaca.tenant_status('acme')"), '{}', 'it has no problems');
    is(dropped('acme'), '', 'it can be dropped');
}

# Drops a tenant, whose last sessions may take longer to end than they are waited for.
sub dropped {
    my ($tenant) = @_;
    my $said;
    for (1 .. 20) {
        $said = run('app', "call cloaca.drop_tenant_all('$tenant')");
        last if $said !~ /tenant is in use/;
    }
    return $said;
}

sub url {
    my ($user, $password, $database) = @_;
    return "postgresql://$user:$password\@/$database?host=$ENV{PGHOST}&port=$ENV{PGPORT}";
}

# What psql prints, errors and notices included, without the last line's end.
sub run {
    my ($database, $sql) = @_;
    open my $psql, '-|', 'sh', '-c', 'exec psql -XAtq -d "$1" -c "$2" 2>&1', 'sh', $database, $sql or die "psql: $!\n";
    local $/;
    my $answer = <$psql> // '';
    close $psql;
    $answer =~ s{\n\z}{};
    return $answer;
}

sub shell {
    system('sh', '-c', $_[0]) == 0 or die "failed: $_[0]\n";
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<', $file or die "$file: $!\n";
    local $/;
    return <$handle>;
}

sub write_file {
    my ($file, $text) = @_;
    open my $handle, '>', $file or die "$file: $!\n";
    print $handle $text;
    close $handle or die "$file: $!\n";
}
