#!/usr/bin/perl
# cloaca work when things go wrong: signals, kills, leases shorter than the command, cancelled tasks, lost leases, a locked or lost
# database, many at once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use IPC::Open2;
use Test::More;

sub events {
    return split /\n/, slurp("$folder/events");
}

sub running {
    my ($id) = @_;
    return sub { task_state($id) eq 'running' && grep { $_ eq "begin $id" } events() };
}

# A command that ends when it is stopped, or when its worker's end takes it along. When it says that it began, its files are complete.
sub endless {
    my ($name) = @_;
    return "echo \$\$ >$folder/leader-$name; sleep 6000 & echo \$! >$folder/sleeper-$name; echo \"begin \$CLOACA_TASK\" >>$folder/events; wait";
}

sub process_in {
    my ($file) = @_;
    return slurp("$folder/$file") =~ /^(\d+)$/m ? $1 : die "no process in $file";
}

sub gone {
    my ($file) = @_;
    my $state = slurp('/proc/' . process_in($file) . '/stat');
    return $state eq '' || $state =~ /\) Z /;
}

# Whether nothing of a queue is left to do, or being done.
sub idle {
    my ($stats) = @{ rows('stats', $_[0]) };
    return $stats->{ready} + $stats->{running} == 0;
}

# As if it had ended by itself: no lease here is so short that a slow machine could lose it.
sub end_lease {
    my ($condition) = @_;
    sql("update TASKS set lease_until = PAST where lease_until is not null and $condition");
}

on_backends(sub {
    row('queue', 'set', $_, '--retention', '1 day', '--lease', '1 h') for qw(default extended cancelled lost many);
    spew("$folder/events", '');

    # SIGTERM: what runs may end, nothing more is claimed.
    my @ids = map { row('enqueue', 'n')->{task} } 1 .. 3;
    my ($until_told, $go) = gate();
    my $worker = start('work', '-c', 2, '--grace', '1 h', '--', 'sh', '-c', "echo \"begin \$CLOACA_TASK\" >>$folder/events; $until_told");
    wait_until('two tasks run', sub { running($ids[0])->() && running($ids[1])->() });
    kill 'TERM', $worker->{pid};
    wait_until('SIGTERM comes', sub { slurp($worker->{err}) =~ /finishing 2 running tasks/ });
    $go->();
    is(finish($worker), 0, 'SIGTERM: it ends well');
    is_deeply([map { task_state($_) } @ids], ['completed', 'completed', 'ready'], 'what ran is complete, the rest untouched');
    like(slurp($worker->{out}), qr/"completed": 2/, 'and it says so');

    # SIGTERM with a short grace: the command is stopped, the task released.
    $worker = start('work', '--grace', '200ms', '--kill-after', '300ms', '--', 'sh', '-c', endless('grace'));
    wait_until('a task runs', running($ids[2]));
    kill 'INT', $worker->{pid};
    is(finish($worker), 0, 'SIGINT after the grace: it ends well');
    is_deeply([@{ row('task', $ids[2]) }{qw(state attempt error)}], ['ready', 0, undef], 'the task is released, the attempt not counted');
    wait_until('the command is gone, with what it started', sub { gone('sleeper-grace') });

    # A second signal ends the grace.
    spew("$folder/events", '');
    $worker = start('work', '--grace', '1 h', '--', 'sh', '-c', endless('second'));
    wait_until('a task runs', running($ids[2]));
    kill 'TERM', $worker->{pid};
    wait_until('a first SIGTERM', sub { slurp($worker->{err}) =~ /finishing 1 running tasks/ });
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'a second one ends the grace');
    wait_until('the command is gone', sub { gone('sleeper-second') });

    # SIGKILL: the command dies too, the lease ends, another worker takes the task.
    spew("$folder/events", '');
    $worker = start('work', '--', 'sh', '-c', endless('killed'));
    wait_until('a task runs', running($ids[2]));
    kill 'KILL', $worker->{pid};
    is(finish($worker), 128 + 9, 'SIGKILL');
    wait_until('its command dies with it', sub { gone('leader-killed') });
    kill 'KILL', process_in('sleeper-killed');
    end_lease("id = $ids[2]");
    is(row('work', '--drain', '--', 'sh', '-c', 'echo "\"$CLOACA_ATTEMPT\""')->{completed}, 1, 'another worker takes the task');
    my $task = row('task', $ids[2]);
    is_deeply([@$task{qw(state result error)}], ['completed', '2', 'lease expired'], 'as the second attempt');

    # Cancelled, but it ends before that is noticed.
    my $id = row('enqueue', 'n')->{task};
    ($until_told, $go) = gate();
    spew("$folder/events", '');
    $worker = start('work', '--once', '--', 'sh', '-c', "echo \"begin \$CLOACA_TASK\" >>$folder/events; $until_told");
    wait_until('a task runs', running($id));
    row('cancel', $id);
    $go->();
    is(finish($worker), 0, 'cancelled, but the command ends before it is noticed');
    is(task_state($id), 'cancelled', 'cancelled all the same');
    like(slurp($worker->{out}), qr/"completed": 0.*"cancelled": 1/, 'and counted so');

    at_the_next_extension();

    # No zombies.
    row('enqueue', 'n') for 1 .. 20;
    $worker = start('work', '-c', 5, '--', 'sh', '-c', '(sleep 0.01 &) ; true');
    wait_until('twenty tasks are done', sub { idle('default') });
    wait_until('an idle worker has no children, dead or alive',
        sub { !grep { slurp($_) =~ /^\d+ \(.*\) \S $worker->{pid} /s } glob '/proc/[0-9]*/stat' });
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'it ends');

    # Many at once, by several workers, while one of them is killed.
    row(\(join '', map { "$_\n" } 1 .. 200), 'enqueue', '--bulk', '-q', 'many', 'n');
    my @workers = map { start('work', '-q', 'many', '--drain', '-c', 10, '-w', "w$_", '--', 'sh', '-c', 'read n; sleep 0.02; echo $n') } 1 .. 4;
    wait_until('they have begun', sub { rows('stats', 'many')->[0]{ready} < 150 });
    kill 'KILL', $workers[0]{pid};
    finish($workers[0]);
    wait_until('the others do the rest', sub {
        end_lease(q{worker = 'w1'});
        return idle('many');
    });
    is(finish($_), 0, 'a worker ends well') for @workers[1 .. 3];
    my $tasks = rows('tasks', '-q', 'many', '--all');
    is(scalar(grep { $_->{state} eq 'completed' && $_->{result} == $_->{payload} } @$tasks), 200, 'all 200 tasks are complete, each once');

    process_one();
    database_trouble();
});

# What a worker learns when it extends a lease, a third of the lease after the claim: three workers at once, for it takes 10 seconds.
sub at_the_next_extension {
    my ($until_told, $go) = gate();
    my %command = (extended => "echo \"begin \$CLOACA_TASK\" >>$folder/events; $until_told", map { $_ => endless($_) } qw(cancelled lost));
    my (%id, %worker);
    for (sort keys %command) {
        $id{$_} = row('enqueue', '-q', $_, 'n')->{task};
        $worker{$_} = start('work', '-q', $_, '--once', '--lease', '30 s', '--no-maintenance', '--', 'sh', '-c', $command{$_});
    }
    wait_until("a task runs: $_", running($id{$_})) for sort keys %id;
    my $until = row('task', $id{extended})->{lease_until};
    is(row('cancel', $id{cancelled})->{state}, 'cancelling', 'one is cancelled while it runs');
    kill 'STOP', $worker{lost}{pid};
    end_lease("id = $id{lost}");
    is(row('work', '-q', 'lost', '--drain', '--', 'echo', '"other"')->{completed}, 1, 'another worker takes the task of a stopped one');
    kill 'CONT', $worker{lost}{pid};

    is(finish($worker{cancelled}), 0, 'the worker of the cancelled one notices');
    is(task_state($id{cancelled}), 'cancelled', 'and lets the task go');
    wait_until('the command is gone', sub { gone('sleeper-cancelled') });

    is(finish($worker{lost}), 0, 'the worker that was stopped goes on');
    like(slurp($worker{lost}{err}), qr/task $id{lost}: the lease is lost/, 'sees that the lease is lost');
    wait_until('kills its command', sub { gone('sleeper-lost') });
    is(row('task', $id{lost})->{result}, 'other', 'and changes nothing');

    wait_until('a lease is extended while the command runs', sub { row('task', $id{extended})->{lease_until} gt $until });
    is_deeply(rows('call', 'claim', '{"queue": "extended", "worker": "thief"}'), [], 'nobody else gets the task');
    $go->();
    is(finish($worker{extended}), 0, 'the worker ends well');
    is_deeply([@{ row('task', $id{extended}) }{qw(state attempt)}], ['completed', 1], 'completed in one attempt');
}

# As process 1 of a container it also collects what its commands left behind.
sub process_one {
    return pass('only root makes process 1') if system('unshare --pid --fork --mount-proc true 2>/dev/null') != 0;
    row('enqueue', '-q', 'one', 'n') for 1 .. 2;
    # Of a process that was left behind and has ended: it is there, and then it is no zombie, or stays one for good.
    my $command = 'rm -f left; (setsid sh -c "echo >left" &); n=0; until [ -e left ]; do sleep 0.05; done; '
        . 'while grep -qs "^State:.Z" /proc/[0-9]*/status && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.05; done; '
        . 'grep -s "^State:.Z" /proc/[0-9]*/status >&2; echo "\"$PPID\""';
    my @worker = ('cloaca', 'work', '-q', 'one', '--drain', '--', 'sh', '-c', $command);
    is(system('sh', '-c', 'cd $0 && exec timeout 600 unshare --pid --fork --mount-proc "$@" >$0/one-out 2>$0/one-err', $folder, @worker), 0,
        'a worker as process 1 ends well');
    like(slurp("$folder/one-out"), qr/"completed": 2/, 'did its work');
    is(slurp("$folder/one-err"), '', 'and leaves no zombies');
}

sub database_trouble {
    my $id = row('enqueue', 'n')->{task};
    my ($until_told, $go) = gate();
    my ($name) = $ENV{DATABASE_URL} =~ m{:///([^?]+)};
    my $command = "touch $folder/runs-$backend; $until_told";
    if ($backend eq 'sqlite') {
        my $worker = start('work', '-v', '--once', '--url', "sqlite:///$name?_busy_timeout=100", '--', 'sh', '-c', $command);
        wait_until('a task runs', sub { -e "$folder/runs-$backend" });
        my $shell = open2(my $answers, my $questions, 'sqlite3', '-cmd', '.timeout 60000', $name);
        $questions->autoflush;
        print $questions "begin immediate; select 'locked';\n";
        is(readline $answers, "locked\n", 'the file is locked');
        $go->();
        wait_until('a worker waits for a locked file', sub { slurp($worker->{err}) =~ /locked/ });
        print $questions "rollback;\n";
        close $questions;
        waitpid $shell, 0;
        is(finish($worker), 0, 'and ends well');
        table_trouble($name);
    } else {
        my $worker = start('work', '--once', '--', 'sh', '-c', $command);
        wait_until('a task runs', sub { -e "$folder/runs-$backend" });
        system('psql', '-qXAtc', "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '$name'");
        $go->();
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
    wait_until('it works', sub { idle('default') });
    system('sqlite3', '-cmd', '.timeout 60000', $file, 'alter table cloaca_task rename to hidden') == 0 or die;
    is(finish($worker), 1, 'without its table a worker ends');
    like(slurp($worker->{err}), qr/cannot claim: database error: /, 'and says why');
    system('sqlite3', '-cmd', '.timeout 60000', $file, 'alter table hidden rename to cloaca_task') == 0 or die;
}

done_testing;
