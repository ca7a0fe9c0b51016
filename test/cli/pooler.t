#!/usr/bin/perl
# cloaca through PgBouncer in transaction mode: calls, transactions, and workers that wait and are told to stop.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;

plan skip_all => 'PgBouncer is not installed' unless qx{command -v pgbouncer 2>/dev/null || ls /usr/sbin/pgbouncer 2>/dev/null};
plan skip_all => 'there is no server' unless $ENV{PGHOST};

my $place = tempdir('cloaca-pooler-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @never = ('--poll', '1 h', '--no-maintenance');
my $stop;
start_pooler();

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
    is(finish($_), 0, 'a worker ends when it is told to') for @workers;
    is(slurp($_->{err}), '', 'without a word') for @workers;
    wait_until('no session waits for nobody', sub { $waits->() == 0 });
    is(row('work', '-q', 'first', '--drain', '--', 'true')->{completed}, 4, 'sessions that were cancelled serve others');
});

isnt($stop->(), -1, 'PgBouncer ends');
done_testing;

# Whatever happened.
END {
    local $?;
    $stop->() if $stop;
}

# A child of ours, on a socket in a folder of its own; as the owner of the server when we are root, for PgBouncer refuses to be that.
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
server_connect_timeout = 300
client_login_timeout = 300
logfile = $place/log
END
    my @as_owner = $> == 0 ? qw(setpriv --reuid=postgres --regid=postgres --init-groups --) : ();
    system('chown', '-R', 'postgres', $place) == 0 or die if @as_owner;
    chmod 0755, $place;
    my $pid = fork // die "cannot fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        $ENV{PATH} .= ':/usr/sbin';
        exec @as_owner, 'pgbouncer', '-q', "$place/pgbouncer.ini" or POSIX::_exit(127);
    }
    # Does it once; gives the exit status, -1 when it had to be killed.
    $stop = sub {
        my $running = $pid or return;
        undef $pid;
        kill 'TERM', $running;
        return finish({ pid => $running, err => "$place/log" });
    };
    my $ask = "psql -qXAt -h $place -p 6432 -d postgres -c 'select 1' 2>&1";
    my $said = '';
    wait_until('PgBouncer answers', sub { ($said = qx{$ask}) eq "1\n" || waitpid($pid, POSIX::WNOHANG()) != 0 });
    $said eq "1\n" or die "PgBouncer does not start: $said" . slurp("$place/log");
}
