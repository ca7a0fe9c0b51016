#!/usr/bin/perl
# cloaca work when things go wrong: signals, kills, leases shorter than the command, cancelled tasks, lost leases, a locked or lost
# database, many at once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Test::More;
use Time::HiRes qw(sleep time);

sub events {
    return split /\n/, slurp("$folder/events");
}

sub running {
    my ($id) = @_;
    return sub { task_state($id) eq 'running' && grep { $_ eq "begin $id" } events() };
}

my $slow = 'echo "begin $CLOACA_TASK" >>' . "$folder/events; sleep 1.5; echo \"end \$CLOACA_TASK\" >>$folder/events";
my $endless = 'echo "begin $CLOACA_TASK" >>' . "$folder/events; sleep 600 & echo \$! >$folder/sleeper; wait";

sub sleeper_gone {
    my ($pid) = slurp("$folder/sleeper") =~ /(\d+)/;
    my $state = slurp("/proc/$pid/stat");
    return $state eq '' || $state =~ /\) Z /;
}

on_backends(sub {
    row('queue', 'set', 'default', '--retention', '1 day', '--lease', '30 s');
    spew("$folder/events", '');
    unlink "$folder/ready", "$folder/leader", "$folder/sleeper";

    # SIGTERM: what runs may end, nothing more is claimed.
    my @ids = map { row('enqueue', 'n')->{task} } 1 .. 3;
    my $worker = start('work', '-c', 2, '--', 'sh', '-c', $slow);
    wait_until('two tasks run', sub { running($ids[0])->() && running($ids[1])->() });
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'SIGTERM: it ends well');
    is_deeply([map { task_state($_) } @ids], ['completed', 'completed', 'ready'], 'what ran is complete, the rest untouched');
    like(slurp($worker->{out}), qr/"completed": 2/, 'and it says so');

    # SIGTERM with a short grace: the command is stopped, the task released.
    $worker = start('work', '--grace', '200ms', '--kill-after', '300ms', '--', 'sh', '-c', $endless);
    wait_until('a task runs', running($ids[2]));
    kill 'INT', $worker->{pid};
    is(finish($worker), 0, 'SIGINT after the grace: it ends well');
    is_deeply([@{ row('task', $ids[2]) }{qw(state attempt error)}], ['ready', 0, undef], 'the task is released, the attempt not counted');
    wait_until('the command is gone, with what it started', \&sleeper_gone);

    # A second signal ends the grace.
    spew("$folder/events", '');
    $worker = start('work', '--', 'sh', '-c', $endless);
    wait_until('a task runs', running($ids[2]));
    my $begun = time;
    kill 'TERM', $worker->{pid};
    sleep 0.2;
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'a second SIGTERM');
    cmp_ok(time - $begun, '<', 10, 'ends the grace');

    # SIGKILL: the command dies too, the lease expires, another worker takes the task.
    spew("$folder/events", '');
    $worker = start('work', '--lease', '1s', '--', 'sh', '-c', 'echo $$ >' . "$folder/leader; $endless");
    wait_until('a task runs', running($ids[2]));
    kill 'KILL', $worker->{pid};
    is(finish($worker), 128 + 9, 'SIGKILL');
    my $leader = slurp("$folder/leader") + 0;
    wait_until('its command dies with it', sub { !kill(0, $leader) || slurp("/proc/$leader/stat") =~ /\) Z / });
    kill 'KILL', slurp("$folder/sleeper") + 0;
    is(row('work', '--drain', '--', 'sh', '-c', 'echo "\"$CLOACA_ATTEMPT\""')->{completed}, 1, 'another worker takes the task');
    my $task = row('task', $ids[2]);
    is_deeply([@$task{qw(state result error)}], ['completed', '2', 'lease expired'], 'as the second attempt');

    # A lease shorter than the command is extended.
    spew("$folder/events", '');
    my $id = row('enqueue', 'n')->{task};
    $worker = start('work', '--once', '--lease', '600ms', '--', 'sh', '-c', 'sleep 2');
    wait_until('a task runs', sub { task_state($id) eq 'running' });
    my $stolen = 0;
    for (1 .. 15) {
        $stolen += @{ rows('call', 'claim', '{"worker": "thief"}') };
        sleep 0.1;
    }
    is($stolen, 0, 'nobody else gets a task whose lease is extended');
    is(finish($worker), 0, 'the worker ends well');
    is_deeply([@{ row('task', $id) }{qw(state attempt)}], ['completed', 1], 'completed in one attempt');

    # Cancelled while it runs.
    spew("$folder/events", '');
    $id = row('enqueue', 'n')->{task};
    $worker = start('work', '--once', '--lease', '900ms', '--', 'sh', '-c', $endless);
    wait_until('a task runs', running($id));
    is(row('cancel', $id)->{state}, 'cancelling', 'cancelled');
    is(finish($worker), 0, 'the worker notices');
    is(task_state($id), 'cancelled', 'and lets the task go');
    wait_until('the command is gone', \&sleeper_gone);
    $id = row('enqueue', 'n')->{task};
    $worker = start('work', '--once', '--', 'sh', '-c', "touch $folder/ready; sleep 1");
    wait_until('a task runs', sub { -e "$folder/ready" });
    row('cancel', $id);
    is(finish($worker), 0, 'cancelled, but the command ends before it is noticed');
    is(task_state($id), 'cancelled', 'cancelled all the same');
    like(slurp($worker->{out}), qr/"completed": 0.*"cancelled": 1/, 'and counted so');

    # The lease is lost while the worker is stopped; another one finishes the task.
    spew("$folder/events", '');
    $id = row('enqueue', 'n')->{task};
    $worker = start('work', '--once', '--lease', '600ms', '--', 'sh', '-c', $endless);
    wait_until('a task runs', running($id));
    kill 'STOP', $worker->{pid};
    is(row('work', '--drain', '--', 'echo', '"other"')->{completed}, 1, 'another worker takes the task of a stopped one');
    kill 'CONT', $worker->{pid};
    is(finish($worker), 0, 'the first one goes on');
    like(slurp($worker->{err}), qr/task $id: the lease is lost/, 'sees that the lease is lost');
    wait_until('kills its command', \&sleeper_gone);
    is(row('task', $id)->{result}, 'other', 'and changes nothing');

    # No zombies.
    row('enqueue', 'n') for 1 .. 20;
    $worker = start('work', '-c', 5, '--', 'sh', '-c', '(sleep 0.01 &) ; true');
    wait_until('twenty tasks are done', sub { my ($stats) = @{ rows('stats', 'default') }; $stats->{ready} + $stats->{running} == 0 });
    sleep 0.3;
    my @children = grep { slurp($_) =~ /^\d+ \(.*\) \S $worker->{pid} /s } glob '/proc/[0-9]*/stat';
    is_deeply(\@children, [], 'an idle worker has no children, dead or alive');
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'it ends');

    # Many at once, by several workers, while one of them is killed.
    row(\(join '', map { "$_\n" } 1 .. 200), 'enqueue', '--bulk', '-q', 'many', 'n');
    row('queue', 'set', 'many', '--retention', '1 day', '--lease', '2 s');
    my @workers = map { start('work', '-q', 'many', '--drain', '-c', 10, '-w', "w$_", '--', 'sh', '-c', 'read n; sleep 0.02; echo $n') } 1 .. 4;
    wait_until('they have begun', sub { rows('stats', 'many')->[0]{ready} < 150 });
    kill 'KILL', $workers[0]{pid};
    finish($workers[0]);
    is(finish($_, 60), 0, 'a worker ends well') for @workers[1 .. 3];
    my $tasks = rows('tasks', '-q', 'many', '--all');
    is(scalar(grep { $_->{state} eq 'completed' && $_->{result} == $_->{payload} } @$tasks), 200, 'all 200 tasks are complete, each once');

    process_one();
    database_trouble();
});

# As process 1 of a container it also collects what its commands left behind.
sub process_one {
    return pass('only root makes process 1') if system('unshare --pid --fork --mount-proc true 2>/dev/null') != 0;
    row('enqueue', '-q', 'one', 'n') for 1 .. 2;
    my $count = q{grep -l '^State:.Z' /proc/[0-9]*/status | wc -l};
    my @worker = ('cloaca', 'work', '-q', 'one', '--drain', '--', 'sh', '-c', "(setsid true &); sleep 0.5; echo \$PPID; $count >&2");
    is(system('sh', '-c', 'exec timeout 60 unshare --pid --fork --mount-proc "$@" >$0/one-out 2>$0/one-err', $folder, @worker), 0,
        'a worker as process 1 ends well');
    like(slurp("$folder/one-out"), qr/"completed": 2/, 'did its work');
    is(slurp("$folder/one-err"), "0\n0\n", 'and leaves no zombies');
}

sub database_trouble {
    my $id = row('enqueue', 'n')->{task};
    if ($backend eq 'sqlite') {
        my ($file) = $ENV{DATABASE_URL} =~ m{sqlite:///(.*)};
        my $worker = start('work', '--once', '--url', "$ENV{DATABASE_URL}?_busy_timeout=100", '--', 'sh', '-c', "touch $folder/locked; sleep 1");
        wait_until('a task runs', sub { -e "$folder/locked" });
        my $lock = open my $shell, '|-', 'sqlite3', $file or return fail("cannot run sqlite3: $!");
        $shell->autoflush;
        print $shell "begin immediate;\n";
        sleep 3;
        ok(kill(0, $worker->{pid}), 'a worker waits for a locked file');
        print $shell "rollback;\n";
        close $shell;
        is(finish($worker), 0, 'and ends well');
        table_trouble($file);
    } else {
        my $worker = start('work', '--once', '--', 'sh', '-c', "touch $folder/lost; sleep 1");
        wait_until('a task runs', sub { -e "$folder/lost" });
        my ($name) = $ENV{DATABASE_URL} =~ m{///(\w+)};
        system('psql', '-qXAtc', "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '$name'");
        is(finish($worker), 0, 'a worker whose connection is lost ends well');
        like(slurp($worker->{err}), qr/connected again/, 'on another connection');
    }
    is(task_state($id), 'completed', 'and its report is made');
}

# What no repetition helps ends the worker.
sub table_trouble {
    my ($file) = @_;
    my $worker = start('work', '--', 'true');
    row('enqueue', 'n');
    wait_until('it works', sub { rows('stats', 'default')->[0]{ready} == 0 });
    system('sqlite3', $file, 'alter table cloaca_task rename to hidden') == 0 or die;
    is(finish($worker), 1, 'without its table a worker ends');
    like(slurp($worker->{err}), qr/cannot claim: database error: /, 'and says why');
    system('sqlite3', $file, 'alter table hidden rename to cloaca_task') == 0 or die;
}

done_testing;
