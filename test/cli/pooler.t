#!/usr/bin/perl
# cloaca through PgBouncer in transaction mode: calls, transactions, and workers that wait and are told to stop.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use File::Temp qw(tempdir);
use Test::More;

plan skip_all => 'PgBouncer is not installed' unless qx{command -v pgbouncer 2>/dev/null || ls /usr/sbin/pgbouncer 2>/dev/null};
plan skip_all => 'there is no server' unless $ENV{PGHOST};

my $place = tempdir('cloaca-pooler-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @never = ('--poll', '1 h', '--no-maintenance');
my $stop = start_pooler();

on_backends(sub {
    return pass('a file has no pooler') if $backend eq 'sqlite';
    my ($name) = $ENV{DATABASE_URL} =~ m{///(\w+)};
    my $straight = $ENV{DATABASE_URL};
    local $ENV{DATABASE_URL} = "postgresql:///$name?host=$place&port=6432&user=$ENV{PGUSER}";
    my $waits = sub { qx{psql -qXAtc "select count(*) from pg_stat_activity where datname = '$name' and state = 'active' and query like 'call cloaca.wait%'"} + 0 };

    is(row('enqueue', '-q', 'first', 'n')->{created}, JSON::PP::true, 'a call');
    is(row(\"1\n2\n3\n", 'enqueue', '--bulk', '--batch', 1, '--atomic', '-q', 'first', 'n')->{created}, 3, 'several in a transaction');
    is(rows('call', 'wait_for_task', '{"queues": ["first"]}')->[0]{ready}, JSON::PP::true, 'a wait that need not wait');
    is(rows('call', 'wait_for_task', '{"queues": ["none"], "timeout": "50 ms"}')->[0]{ready}, JSON::PP::false, 'one that waits in vain');

    my @workers = map { start('work', @never, '-w', "w$_", '--', 'true') } 1 .. 3;
    wait_until('three workers wait', sub { $waits->() == 3 });
    row(\(join '', map { "$_\n" } 1 .. 20), 'enqueue', '--bulk', 'n');
    wait_until('what is enqueued through the pooler wakes them', sub { @{ rows('tasks', '-q', 'default') } == 0 });
    row('enqueue', '--url', $straight, 'n');
    wait_until('so does what is not', sub { @{ rows('tasks', '-q', 'default') } == 0 });
    wait_until('and they wait again', sub { $waits->() == 3 });
    kill 'TERM', map { $_->{pid} } @workers;
    is(finish($_, 10), 0, 'a worker ends when it is told to') for @workers;
    is(slurp($_->{err}), '', 'without a word') for @workers;
    wait_until('no session waits for nobody', sub { $waits->() == 0 });
    is(row('work', '-q', 'first', '--drain', '--', 'true')->{completed}, 4, 'sessions that were cancelled serve others');
});

$stop->();
done_testing;

# Whatever happened.
END {
    local $?;
    kill 'TERM', slurp("$place/pid") + 0 if $place && -s "$place/pid";
}

# On a socket in a folder of its own; as the owner of the server when we are root, for PgBouncer refuses to be that.
sub start_pooler {
    spew("$place/pgbouncer.ini", <<"END");
[databases]
* = host=$ENV{PGHOST} port=$ENV{PGPORT} user=$ENV{PGUSER}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $place
auth_type = any
pool_mode = transaction
default_pool_size = 8
logfile = $place/log
pidfile = $place/pid
END
    my @as_owner = $> == 0 ? qw(setpriv --reuid=postgres --regid=postgres --init-groups --) : ();
    system('chown', '-R', 'postgres', $place) == 0 or die if @as_owner;
    chmod 0755, $place;
    local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
    system(@as_owner, 'pgbouncer', '-q', '-d', "$place/pgbouncer.ini") == 0 or BAIL_OUT('cannot start PgBouncer');
    wait_until('PgBouncer answers', sub { -S "$place/.s.PGSQL.6432" && -s "$place/pid" });
    return sub {
        my $pid = slurp("$place/pid") + 0;
        kill 'TERM', $pid if $pid;
        wait_until('PgBouncer ends', sub { !-e "/proc/$pid" });
    };
}
