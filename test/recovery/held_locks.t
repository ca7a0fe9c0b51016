#!/usr/bin/perl
# A session that keeps a tenant's tables locked for as long as it likes: the admin functions that need them give up after ten seconds,
# say so, and leave everything as it was. All of them wait at the same time.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use Test::More;

recovery::under_cluster();
$recovery::folder = File::Temp::tempdir('cloaca-recovery-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $here = recovery::postgres_url();
my $updated = $here =~ s/postgresql:\/\/\/\w+/postgresql:\/\/\/updated/r;

recovery::must($here, $_) for 'create database updated', 'create extension cloaca',
    "select cloaca.create_tenant('watched', 'watched_user'), cloaca.create_tenant('left_over', 'left_over_user')",
    "delete from cloaca.tenant where schema_name = 'left_over'";
# As after an update of the extension whose tables have one more column.
recovery::must($updated, $_) for 'create extension cloaca', "select cloaca.create_tenant('old', 'old_user')",
    q{create or replace function cloaca.table_version() returns integer language sql immutable as 'select 2'},
    q{create or replace function cloaca.table_upgrade(version integer) returns text language sql immutable
        as $$select 'alter table %1$I.cloaca_queue add column more integer'$$};
my $before = owner('left_over');

my @holders = (
    holder($here, 'lock table watched.cloaca_task, left_over.cloaca_task'),
    holder($updated, 'lock table old.cloaca_queue in share mode'),
);
my @calls = (
    waiting($here, "select cloaca.tenant_status('watched')"),
    waiting($here, "select cloaca.adopt_tenant('left_over', 'left_over_user')"),
    waiting($updated, 'select * from cloaca.migrate_tenants()'),
);
my ($status, $adopt, $migrate) = map { answer($_) } @calls;

like($status->{said}, qr/tenant is in use.*lock on a table of "watched"/s, 'tenant_status gives up');
like($adopt->{said}, qr/tenant is in use.*lock on "left_over"/s, 'adopt_tenant gives up');
like($migrate->{said}, qr/\AWARNING: +Tenant "old" is not migrated: another session holds a lock on its tables\.\n\z/,
    'migrate_tenants warns, and migrates the others');
cmp_ok($_->{seconds}, '>', 9, "$_->{query}: after waiting") for $status, $adopt, $migrate;

is(owner('left_over'), $before, 'what was not adopted keeps its owner');
is(recovery::must($here, "select count(*) from cloaca.tenant where schema_name = 'left_over'"), 0, 'and is no tenant');
is(recovery::must($updated, "select table_version from cloaca.tenant where schema_name = 'old'"), 1, 'what was not migrated keeps its version');

close $_ for @holders;
like(recovery::must($here, "select problems from cloaca.tenant_status('watched')"), qr/^\{.*\}$/, 'then tenant_status answers');
like(recovery::must($here, "select cloaca.adopt_tenant('left_over', 'left_over_user')"), qr/left_over/, 'the schema is adopted');
is(recovery::must($updated, 'select * from cloaca.migrate_tenants()'), 'old|2', 'and the tables are migrated');
done_testing();

sub owner {
    return recovery::must($here, "select nspowner::regrole from pg_namespace where nspname = '$_[0]'");
}

# A session that has a lock until its handle is closed.
sub holder {
    my ($url, $lock) = @_;
    my $file = "$recovery::folder/held" . ++our $held;
    open my $psql, '|-', 'psql', '-Xqv', 'ON_ERROR_STOP=1', $url or die "psql: $!\n";
    $psql->autoflush;
    print $psql "begin; $lock;\n\\! touch $file\n";
    return $psql if recovery::comes(sub { -e $file });
    die "no lock: $lock\n";
}

# A call under way. Its statement_timeout is there for the day when the lock_timeout is not.
sub waiting {
    my ($url, $query) = @_;
    my $begun = time;
    my $pid = open my $output, '-|';
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec 'psql', '-XAtq', '-c', "set statement_timeout = '300s'", '-c', $query, $url or POSIX::_exit(127);
    }
    return { query => $query, output => $output, begun => $begun };
}

sub answer {
    my ($call) = @_;
    my $said = do { local $/; readline $call->{output} };
    return { %$call, said => $said, seconds => time - $call->{begun} };
}
