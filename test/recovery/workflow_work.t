#!/usr/bin/perl
# What large executions cost on PostgreSQL is what their tasks are, not their square: the rows that the plans of all statements read or
# pass over are counted (auto_explain), for executions of so many tasks and of four times as many, in each way that the server can go. Plans
# live as long as a session; they are made on tables that are empty, or small and analyzed, or that many sizes have been through.
#
#   WORKFLOW_WORK=60   tasks of the smaller executions
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use JSON::PP qw(encode_json);
use Test::More;

recovery::under_cluster('--conf', 'autovacuum = off');
recovery::build();
recovery::make('sql-only');
my $size = $ENV{WORKFLOW_WORK} || 60;

my @counters = qw(execution execution_task execution_event workflow_task task);
my %shapes = (
    fan => sub { task('first'), map { task("t$_", 'first') } 1 .. $_[0] },
    chain => sub { map { task("t$_", $_ > 1 ? 't' . ($_ - 1) : ()) } 1 .. $_[0] },
    gathered => sub { (map { task("t$_") } 1 .. $_[0]), task('last', map { "t$_" } 1 .. $_[0]) },
);

# One after the other, of an execution of each shape; %d stands for its id.
my $begin = ['start', "select execution from cloaca.start_workflow('%s')"];
my $all = 'select count(*) from (select array_agg(task) as tasks, array_agg(lease_id) as leases from cloaca.claim(max => 1000)) c,
    cloaca.complete_many(c.tasks, c.leases)';
my %steps = (
    fan => [$begin,
        ['complete the first', q(select count(d.*) from cloaca.claim() c, cloaca.complete(c.task, c.lease_id, '{"a": 1}') d)],
        ['pause', 'select cloaca.pause_execution(%d)'], ['resume', 'select cloaca.resume_execution(%d)'],
        ['list', 'select count(*) from cloaca.list_execution_tasks(%d, max => 10000)'],
        ['events', 'select count(*) from cloaca.execution_events(%d, max => 10000)'],
        ['get', 'select count(*) from cloaca.get_execution(%d)'],
        ['cancel', 'select cloaca.cancel_execution(%d)'], ['retry', 'select cloaca.retry_execution(%d)'], ['complete all', $all]],
    chain => [$begin, ['fail', q(select count(f.*) from cloaca.claim() c, cloaca.fail(c.task, c.lease_id, 'no', final => true) f)],
        ['retry', 'select cloaca.retry_execution(%d)'], ['cancel', 'select cloaca.cancel_execution(%d)']],
    gathered => [$begin, ['complete the first', $all], ['complete the last', $all]],
);

for my $way ('direct', 'SQL', 'script') {
    for my $past ('empty', 'small', 'used') {
        my ($small, $large) = map { works($way, $past, $_) } $size, 4 * $size;
        for my $step (sort keys %$large) {
            cmp_ok($large->{$step}, '<', 6 * $small->{$step}, "$way, tables that were $past: $step costs what the tasks are")
                or diag("$size tasks: $small->{$step} rows");
        }
    }
}
done_testing();

sub task {
    my ($name, @dependencies) = @_;
    return { name => $name, dependencies => \@dependencies, max_attempts => 1 };
}

# "shape: step" => rows, in a new database and one session.
sub works {
    my ($way, $past, $tasks) = @_;
    my $name = lc "${way}_${past}_$tasks";
    recovery::must(recovery::postgres_url(), "create database $name");
    my $url = recovery::postgres_url() =~ s{postgresql:///[^?]*}{postgresql:///$name}r;
    if ($way eq 'script') {
        system('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', 'build/cloaca-sql-only.sql', $url) == 0 or die "the script fails\n";
    } else {
        recovery::must($url, 'create extension cloaca');
    }
    my $session = dialogue->new($url, $way eq 'script' ? () : ('cloaca.direct' => $way eq 'SQL' ? 'off' : 'on'));
    define($session, $_, $tasks) for sort keys %shapes;
    define($session, $_, 1, "small-$_") for sort keys %shapes;
    if ($past ne 'empty') {
        run($session, $_, "small-$_") for sort keys %shapes;
        $session->ask("vacuum analyze cloaca_default.cloaca_$_") for @counters;
        run($session, $_, "small-$_") for sort keys %shapes;
    }
    if ($past eq 'used') {
        run($session, $_, $_) for sort keys %shapes;
        $session->ask("vacuum analyze cloaca_default.cloaca_$_") for @counters;
    }
    $session->ask("load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_analyze = on; set auto_explain.log_timing = off;
        set auto_explain.log_nested_statements = on; set auto_explain.log_level = notice");
    my %rows = map { run($session, $_, $_) } sort keys %shapes;
    $session->close;
    return \%rows;
}

sub define {
    my ($session, $shape, $tasks, $name) = @_;
    my $definition = encode_json({ tasks => [$shapes{$shape}->($tasks)] });
    $session->ask("select version from cloaca.define_workflow('@{[$name // $shape]}', '$definition')");
}

# The steps of a shape with an execution of this workflow: "shape: step" => rows.
sub run {
    my ($session, $shape, $workflow) = @_;
    my $execution = 0;
    my %rows;
    for my $step (@{ $steps{$shape} }) {
        my ($name, $statement) = @$step;
        my $answer = $session->ask($statement =~ s/%s/$workflow/r =~ s/%d/$execution/r);
        die "$workflow: $name: $answer\n" if $answer =~ /^(psql:.*)?ERROR: /m;
        ($execution) = $answer =~ /^(\d+)$/m if $name eq 'start';
        $rows{"$shape: $name"} = rows($answer);
    }
    return %rows;
}

# What the plans of an answer read and passed over.
sub rows {
    my ($answer) = @_;
    my ($rows, $loops) = (0, 1);
    while ($answer =~ /\(actual rows=(\d+)[\d.]* loops=(\d+)\)|Rows Removed by [\w ]+: (\d+)/g) {
        $loops = $2 if defined $2;
        $rows += $loops * (defined $2 ? 1 + $1 : $3);
    }
    return $rows;
}
