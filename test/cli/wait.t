#!/usr/bin/perl
# cloaca work with nothing to do: it waits, so that with --poll of an hour everything here would take an hour if it polled.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Test::More;

my @never = ('--poll', '1 h', '--no-maintenance');

# The server's sessions of workers, those that the condition takes: their numbers, or something else about them.
sub sessions {
    my ($condition, $what) = (@_, 'pid');
    my ($name) = $ENV{DATABASE_URL} =~ m{///(\w+)};
    return qx{psql -qXAtc "select $what from pg_stat_activity where datname = '$name' and application_name = 'cloaca' and $condition"};
}

my $waits = "state = 'active' and query like 'call cloaca.wait_for_task(%'";

sub waiting { return sessions($waits) =~ /\d/ }

# On PostgreSQL the server says when a worker waits; a file says nothing, and a worker that does not wait yet does no harm.
sub wait_until_idle {
    wait_until('the worker waits', \&waiting) if $backend eq 'postgres';
}

sub done {
    my ($id) = @_;
    return sub { cloaca('task', $id); return $stderr =~ /does not exist/ };
}

on_backends(sub {
    my $worker = start('work', @never, '-c', 2, '--', 'true');
    for my $turn (1 .. 3) {
        wait_until_idle();
        wait_until("task $turn wakes it", done(row('enqueue', 'n')->{task}));
    }
    wait_until_idle();
    wait_until('a task comes due', done(row('enqueue', 'n', '--delay', '300 ms')->{task}));
    row('queue', 'pause', 'default');
    my $id = row('enqueue', 'n')->{task};
    wait_until_idle();
    is(task_state($id), 'ready', 'a paused queue');
    row('queue', 'resume', 'default');
    wait_until('is resumed', done($id));
    row('enqueue', '-q', 'other', 'n');
    wait_until_idle();
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'SIGTERM ends a worker that waits');
    is(slurp($worker->{err}), '', 'without a word');
    like(slurp($worker->{out}), qr/"completed": 5/, 'it did what there was in its queue');

    # A lease that ends wakes another worker.
    $id = row('enqueue', '-q', 'lease', 'n')->{task};
    is(scalar @{ rows('call', 'claim', '{"queue": "lease", "lease": "1 s"}') }, 1, 'claimed by one that is gone');
    is(row('work', @never, '-q', 'lease', '-n', 1, '--', 'true')->{completed}, 1, 'taken over when the lease ends');

    # A worker with room left waits while its commands run.
    my ($until_told, $go) = gate();
    row('enqueue', '-q', 'room', 'n');
    $worker = start('work', @never, '-q', 'room', '-c', 2, '-n', 2, '--', 'sh', '-c',
        "echo >>$folder/room-$backend; $until_told");
    wait_until('the first command runs', sub { slurp("$folder/room-$backend") eq "\n" });
    wait_until_idle();
    row('enqueue', '-q', 'room', 'n');
    wait_until('the second one too', sub { slurp("$folder/room-$backend") eq "\n\n" });
    ok(!waiting(), 'a worker without room does not wait') if $backend eq 'postgres';
    $go->();
    is(finish($worker), 0, 'and both end');

    on_a_server() if $backend eq 'postgres';
});

sub on_a_server {
    # The waiting session is lost: the worker goes on, and soon waits again.
    my $worker = start('work', '-v', '--poll', '100ms', '--no-maintenance', '--', 'true');
    wait_until_idle();
    sessions($waits . ' and pg_terminate_backend(pid)');
    wait_until('a task is done all the same', done(row('enqueue', 'n')->{task}));
    wait_until_idle();
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'it ends well');
    like(slurp($worker->{err}), qr/cannot wait for work, polling for a while: connection lost/, 'it says so');

    # A statement_timeout cuts the waits short, and nothing else that a slow machine would not do within it.
    my %begun;
    $worker = start('work', '-v', @never, '-q', 'short', '--url', "$ENV{DATABASE_URL}&options=-c%20statement_timeout%3D8s", '--', 'true');
    wait_until('it waits again', sub { $begun{$_} = 1 for split /\n/, sessions($waits, 'query_start'); keys %begun > 1 });
    wait_until('a task is done', done(row('enqueue', '-q', 'short', 'n')->{task}));
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'it ends well');
    unlike(slurp($worker->{err}), qr/cannot wait/, 'without a complaint');

    # A worker whose connection is direct loses its leases with it.
    row('enqueue', '-q', 'bound', 'n');
    my $direct = start('work', '-q', 'bound', '--lease', '1 h', '--url', "$ENV{DATABASE_URL}&direct=true", '--',
        'sh', '-c', "touch $folder/bound; exec sleep 600");
    wait_until('a task runs', sub { -e "$folder/bound" });
    my $heir = start('work', @never, '-q', 'bound', '-n', 1, '--', 'true');
    wait_until_idle();
    kill 'KILL', $direct->{pid};
    finish($direct);
    is(finish($heir), 0, 'the task of a killed worker runs again at once');

    # A server that is older than the command: it polls.
    my ($name) = $ENV{DATABASE_URL} =~ m{///(\w+)};
    system('psql', '-qX', '-d', $name, '-c', 'alter extension cloaca drop procedure cloaca.wait_for_task', '-c',
        'drop procedure cloaca.wait_for_task') == 0 or die;
    $worker = start('work', '-v', '--', 'true');
    wait_until('it cannot wait', sub { slurp($worker->{err}) =~ /cannot wait for work, polling from now on: unknown function/ });
    wait_until('a task is done', done(row('enqueue', 'n')->{task}));
    kill 'TERM', $worker->{pid};
    is(finish($worker), 0, 'it ends well');
}

done_testing;
