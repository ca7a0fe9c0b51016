# Executions of workflows: how many a second, how long their tasks wait for a worker, and what a task of theirs costs beside a plain one.
#
#   BENCH_WORKERS='1 8 32'   workers, each with a connection      BENCH_WORKFLOW_WAKES=200   rounds of the wake-up
#
# A fan is one task, then three, then one; a chain is three in a row (bench/workflow.c). Each end of an execution starts another.
package Bench::Scenario::workflow;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;
use Bench::Server;
use File::Temp qw(tempdir);

my @workers = split ' ', $ENV{BENCH_WORKERS} || '1 8 32';
my $wakes = $ENV{BENCH_WORKFLOW_WAKES} || 200;
my %shapes = (fan => '1 to 3 to 1', chain => 'a chain of 3');
my $clients = 4;
my $tables = join ', ', map {"cloaca_default.cloaca_$_"} qw(task execution execution_task execution_event);
my $unfinished = "select count(*) from cloaca_default.cloaca_execution_task where state in ('waiting', 'ready')";

sub scenario {
    heading('workflow', 'tasks/s, workflows/s, and ms');
    my $peer = Bench::Peer->get('cloaca');
    my $folder = tempdir(CLEANUP => 1);
    my %url = (PostgreSQL => "postgresql:///$peer->{database}", SQLite => "sqlite:///$folder/bench.db?_busy_timeout=60000");
    cost($peer);
    for my $database (qw(PostgreSQL SQLite)) {
        wake($database, $url{$database}, sub { empty($peer) });
        rates($database, $url{$database}, $_, sub { empty($peer) }) for qw(fan chain);
    }
    empty($peer);
}

sub empty {
    my ($peer) = @_;
    statements($peer->{database}, "truncate $tables", 'vacuum analyze', 'checkpoint');
}

# -------------------------------------------------------------------------------------------------------------------- cost

# Claim and complete: of plain tasks that were enqueued before, and of the tasks of executions that were started before. Their
# starts are measured by themselves, and counted in with each execution's tasks in the last row, as enqueueing is with the plain ones.
sub cost {
    my ($peer) = @_;
    my %rates;
    for (1 .. $rounds) {
        empty($peer);
        push @{ $rates{plain} }, throughput($peer, 'lifecycle', $clients, 1)->{rate};
        push @{ $rates{enqueue} }, throughput($peer, 'enqueue', $clients, 1)->{rate};
        for my $shape (sort keys %shapes) {
            push @{ $rates{"start $shape"} }, my $starts = start_rate($peer, $shape);
            push @{ $rates{$shape} }, lifecycle($peer, $shape, $rates{plain}[-1]);
        }
    }
    my %rate = map { $_ => median(@{ $rates{$_} }) } keys %rates;
    figure('workflow', "cost, $_", 'a second', 'PostgreSQL', $rate{$_}) for sort keys %rate;
    for my $shape (qw(fan chain)) {
        my $tasks = $shape eq 'fan' ? 5 : 3;
        row('workflow', "claim and complete, $shapes{$shape}", 'plain tasks', $rate{plain}, $rate{$shape}, sign => '>=', goal => 0.4);
        row('workflow', "with start, $shapes{$shape}", 'plain tasks, with enqueue', 1 / (1 / $rate{plain} + 1 / $rate{enqueue}),
            1 / (1 / $rate{$shape} + 1 / $tasks / $rate{"start $shape"}));
    }
}

# Executions a second that as many clients start.
sub start_rate {
    my ($peer, $shape) = @_;
    empty($peer);
    define($peer, $shape);
    my $script = "$ENV{BENCH_BUILD}/workflow.start.sql";
    write_file($script, "-- step start\nselect execution from cloaca.start_workflow(\$shape)\n");
    return $peer->drive($script, '-c', $clients, '-t', $seconds, '-D', "shape=$shape")->{rate};
}

# Tasks a second; there are as many of them, and more, as could be done if they were plain.
sub lifecycle {
    my ($peer, $shape, $expected) = @_;
    my $tasks = $shape eq 'fan' ? 5 : 3;
    empty($peer);
    define($peer, $shape);
    my $executions = int($expected * $seconds / $tasks + 1000);
    statements($peer->{database}, "select count(*) from (select cloaca.start_workflow('$shape') from generate_series(1, $executions)) s",
        'vacuum analyze', 'checkpoint');
    my $before = value($peer->{database}, $unfinished);
    my $figures = $peer->drive($peer->script('lifecycle', 1), '-c', $clients, '-t', $seconds, '-D', 'batch=1');
    my $left = value($peer->{database}, $unfinished);
    $before - $left == $figures->{tasks} or die "workflow: $figures->{tasks} tasks by the driver's count, but $before before and $left after\n";
    $figures->{empty} == 0 && $left > 0 or die "workflow: $figures->{empty} empty claims while $left tasks were left\n";
    return $figures->{rate};
}

# In the queue of the plain tasks. Later tasks have precedence: so executions end one after the other, and what is measured is all of
# them, not thousands of their first tasks.
sub define {
    my ($peer, $shape) = @_;
    my @tasks = $shape eq 'fan' ? ('0 a', map({"-1 $_ a"} qw(b c d)), '-2 e b c d') : ('0 a', '-1 b a', '-2 c b');
    my $definition = join ', ', map {
        my ($priority, $name, @after) = split;
        "{\"name\": \"$name\", \"priority\": $priority, \"dependencies\": [" . join(', ', map {"\"$_\""} @after) . ']}';
    } @tasks;
    statements($peer->{database}, "select from cloaca.define_workflow('$shape', '{\"queue\": \"bench\", \"tasks\": [$definition]}')");
}

# -------------------------------------------------------------------------------------------------------- rates and latencies

# From the start to the first task, and from a complete to the next task, where workers sleep.
sub wake {
    my ($database, $url, $empty) = @_;
    $empty->();
    my %took = program('wake', $url, $wakes);
    my %title = (first => 'start to the first task', next => 'complete to the next task');
    for my $what (qw(first next)) {
        figure('workflow', $title{$what}, $_, $database, $took{"${what}_$_"}) for qw(p50 p99);
        at_most('workflow', "$database, $title{$what}, $_", 5, 'ms', $took{"${what}_$_"})
            for $database eq 'PostgreSQL' && $what eq 'next' ? qw(p50 p99) : ();
    }
    printf "  %-36s first task p50 %.1f ms, p99 %.1f ms; next task p50 %.1f ms, p99 %.1f ms\n", "$database, sleeping workers",
        @took{qw(first_p50 first_p99 next_p50 next_p99)};
}

sub rates {
    my ($database, $url, $shape, $empty) = @_;
    my $base;
    for my $workers (@workers) {
        my @runs;
        for (1 .. $rounds) {
            $empty->();
            push @runs, { program('rate', $url, $shape, $workers, $seconds) };
        }
        my %figure = map { my $name = $_; $name => median(map { $_->{$name} } @runs) } keys %{ $runs[0] };
        my $case = "$workers worker" . ($workers == 1 ? '' : 's');
        figure('workflow', "workflows/s, $case", 'workflows/s', "$database, $shapes{$shape}", $figure{executions});
        figure('workflow', "ready to claimed $_ ms, $case", 'ms', "$database, $shapes{$shape}", $figure{"task_$_"}) for qw(p50 p99);
        $base //= $figure{executions};
        row('workflow', "$database, $shapes{$shape}, $case", "$workers[0] worker" . ($workers[0] == 1 ? '' : 's') . ', workflows/s', $base,
            $figure{executions});
        printf "  %-36s ready to claimed p50 %.1f ms, p99 %.1f ms\n", '', @figure{qw(task_p50 task_p99)};
    }
}

sub program {
    return capture("$ENV{BENCH_BUILD}/workflow", @_) =~ /^(\w+) ([\d.]+)$/mg;
}

1;
