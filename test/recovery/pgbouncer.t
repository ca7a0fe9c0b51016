#!/usr/bin/perl
# Through PgBouncer in transaction mode, where each transaction may get another server connection: tasks are enqueued, waited for,
# claimed and completed, by psql and by the library. PgBouncer runs from a folder of this test's own.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use sessions;
use Test::More;
use Time::HiRes qw(time);

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'pgbouncer is not installed (test/setup installs it)' unless $pgbouncer;
recovery::under_cluster('--preload', '--conf', 'cloaca.repair_interval = 1h');
recovery::build();
my $server = recovery::postgres_url();
my @as_owner = $> == 0 ? qw(setpriv --reuid=postgres --regid=postgres --init-groups --) : ();
my $folder = tempdir('cloaca-pgbouncer-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $test = $$;
my $bouncer;

END {
    if ($bouncer && $$ == $test) {
        local $?;
        kill 'TERM', $bouncer;
        waitpid $bouncer, 0;
    }
}

recovery::must($server, 'create extension cloaca');
recovery::must($server, "select cloaca.set_queue('storm', retention => '1 day')");
start(2);
my $url = "postgresql:///postgres?host=$folder&port=6432&user=postgres";
my %bounced = (PGHOST => $folder, PGPORT => 6432);

subtest 'two clients of one server connection' => sub {
    my %connections;
    my @clients = map { client() } 1 .. 2;
    recovery::must($server, "select cloaca.enqueue_many('x', array_fill(jsonb '1', array[20]))");
    for my $turn (1 .. 10) {
        $connections{ ask($_, "select pg_backend_pid()") }++ for @clients;
        my ($first, $second) = map { ask($_, "select task || ', ' || lease_id from cloaca.claim()") } @clients;
        isnt($first, $second, 'each claims a task of its own') if $turn == 1;
        is(ask($clients[0], "select 'done' from cloaca.complete($second)"), 'done', 'which the other may complete') if $turn == 1;
        ask($clients[0], "select cloaca.complete($second)") if $turn > 1;
        ask($clients[1], "select cloaca.complete($first)");
    }
    is(keys %connections, 1, 'they took turns on one connection');
    is(recovery::must($server, 'select count(*) from cloaca_default.cloaca_task'), 0, 'and left nothing');
};

subtest 'waiting' => sub {
    my $waiter = sessions::begin(\%bounced, 'call cloaca.wait_for_task()');
    my ($pid) = sessions::until_asleep($server, 1);
    is(recovery::must($server, "select backend_xmin is null from pg_stat_activity where pid = $pid"), 't', 'a sleeper holds no snapshot');
    my $begun = time;
    is(recovery::must($url, "select created from cloaca.enqueue('x')"), 't', 'another client enqueues');
    is(sessions::end($waiter), 't', 'and the sleeper is woken');
    note(sprintf '%.0f ms', (time - $begun) * 1000);
    recovery::must($server, 'delete from cloaca_default.cloaca_task');
    is(sessions::end(sessions::begin(\%bounced, "call cloaca.wait_for_task(timeout => '50 ms')")), 'f', 'a timeout ends it');

    my $lost = sessions::begin(\%bounced, 'call cloaca.wait_for_task()');
    ($pid) = sessions::until_asleep($server, 1);
    my $other = sessions::begin('call cloaca.wait_for_task()');
    sessions::until_asleep($server, 2);
    sessions::hang_up($lost);
    sessions::until_true($server, "select not exists (select from pg_stat_activity where pid = $pid and state = 'active')");
    recovery::must($server, "select cloaca.enqueue('x')");
    is(sessions::end($other), 't', 'a client that is gone takes no wake from others');
    recovery::must($server, 'delete from cloaca_default.cloaca_task');
};

subtest 'the library' => sub {
    my $tasks = 400;
    is(recovery::reap(recovery::start('enqueue', 'enqueue', $url, 1, $tasks, 20, "$recovery::folder/enqueue.log")), 0, 'tasks are enqueued');
    recovery::start("work$_", 'work', $url, "work$_", 5, 2000, "$recovery::folder/work$_.log") for 1 .. 4;
    my $left = sub { recovery::must($server, "select count(*) from cloaca_default.cloaca_task where queue = 'storm'") };
    ok(recovery::reaches($left, 0), 'and all finished by four workers');
    is_deeply([recovery::failures()], [], 'none of which failed');
    is(recovery::stop_all(), 0, 'they stop when told');
    is(recovery::must($server, "select count(*) from cloaca_default.cloaca_task_history where queue = 'storm'"), $tasks, 'each task once');
};
done_testing();

# With so many server connections at most.
sub start {
    my ($size) = @_;
    chmod 0755, $folder;
    write_file("$folder/pgbouncer.ini", <<"INI");
[databases]
postgres = host=$ENV{PGHOST} port=$ENV{PGPORT} user=postgres pool_size=$size
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $folder
auth_type = any
pool_mode = transaction
query_wait_timeout = 0
client_login_timeout = 0
server_connect_timeout = 120
logfile = $folder/pgbouncer.log
INI
    chown +(getpwnam 'postgres')[2, 3], $folder, "$folder/pgbouncer.ini" if $> == 0;
    $bouncer = fork // die "fork: $!\n";
    if (!$bouncer) {
        open STDIN, '<', '/dev/null' or die;
        open STDOUT, '>', "$folder/out" or die;
        open STDERR, '>&', \*STDOUT or die;
        exec @as_owner, $pgbouncer, "$folder/pgbouncer.ini" or POSIX::_exit(127);
    }
    return if recovery::comes(sub { -S "$folder/.s.PGSQL.6432" });
    die "pgbouncer does not start:\n" . recovery::read_file("$folder/out") . recovery::read_file("$folder/pgbouncer.log");
}

# A psql that answers questions one by one.
sub client {
    my ($questions, $answers);
    local @ENV{ keys %bounced } = values %bounced;
    require IPC::Open2;
    IPC::Open2::open2($answers, $questions, 'psql', '-X', '-q', '-A', '-t');
    return { questions => $questions, answers => $answers };
}

sub ask {
    my ($client, $query) = @_;
    my $answer = '';
    print { $client->{questions} } "$query;\n\\echo end\n";
    $client->{questions}->flush;
    while (defined(my $line = readline $client->{answers})) {
        last if $line eq "end\n";
        $answer .= $line;
    }
    chomp $answer;
    return $answer;
}

sub write_file {
    my ($file, $text) = @_;
    open my $handle, '>', $file or die "$file: $!\n";
    print $handle $text;
    close $handle or die "$file: $!\n";
}
