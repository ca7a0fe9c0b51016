# Executions of random workflows under load: how to define and start them, and what must hold of them while workers
# (test/recovery/flows.c) run, and at the end.
package flows;
use strict;
use warnings;
use JSON::PP qw(decode_json encode_json);
use Test::More;

my $tables = 'cloaca_default.cloaca_';
my %dependencies;    # of the workflows that were defined here: by workflow and task
my %triggers;

# ------------------------------------------------------------------------------------------------------------ what to run

# The table of effects, and one of a workflow's tasks as they are defined: [name, [dependencies], trigger].
sub set_up {
    my ($url) = @_;
    recovery::must($url, 'create extension cloaca; create table effect (task bigint, lease_id bigint, worker text)');
}

sub define {
    my ($url, $name, $max_attempts, @tasks) = @_;
    my @definition = map {
        my ($task, $dependencies, $trigger) = @$_;
        $dependencies{$name}{$task} = $dependencies;
        $triggers{$name}{$task} = $trigger;
        +{ name => $task, dependencies => $dependencies, max_attempts => $max_attempts, $trigger ? (trigger => $trigger) : () };
    } @tasks;
    my $text = encode_json({ tasks => \@definition });
    recovery::must($url, "select cloaca.define_workflow('$name', '$text')");
}

# A random graph in layers, some edges over several of them, in random order. A quarter of the tasks has a trigger of some kind.
sub random_tasks {
    my ($layers, $width) = @_;
    my (@tasks, @before);
    for my $layer (1 .. $layers) {
        my @layer = map { "t${layer}_$_" } 1 .. 1 + int rand $width;
        for my $name (@layer) {
            my %chosen = map { $before[rand @before] => 1 } @before ? 1 .. 1 + int rand 4 : ();
            my @dependencies = sort keys %chosen;
            push @tasks, [$name, \@dependencies, @dependencies && rand() < 0.4 ? trigger(@dependencies) : undef];
        }
        push @before, @layer;
    }
    return sort { rand() <=> 0.5 } @tasks;
}

sub trigger {
    my @dependencies = @_;
    return 'always' if rand() < 0.4;
    my @conditions = map { +{ (qw(task_success task_failed task_skipped))[rand 3] => $_ } } @dependencies;
    return { (qw(all any none))[rand 3] => \@conditions };
}

sub wide_tasks {
    my ($width) = @_;
    return (['first', []], (map { ["w$_", ['first']] } 1 .. $width), ['last', [map { "w$_" } 1 .. $width], 'always']);
}

sub chain_tasks {
    my ($length) = @_;
    return map { ["c$_", $_ > 1 ? ['c' . ($_ - 1)] : []] } 1 .. $length;
}

sub start {
    my ($url, $name, $count) = @_;
    recovery::must($url, "select count(*) from (select cloaca.start_workflow('$name') from generate_series(1, $count)) s");
}

sub unfinished {
    my ($url) = @_;
    return recovery::ask($url, "select count(*) from ${tables}execution where finished_at is null");
}

# ---------------------------------------------------------------------------------------------------------- at any moment

# What one snapshot shows must agree with itself, whatever goes on: how many contradictions there are, of each kind.
sub contradictions {
    my ($url) = @_;
    return recovery::ask($url, <<"");
with node as materialized (
    select n.*, e.workflow, e.state as execution_state, e.finished_at as execution_end, e.remaining as finals, w.dependencies, w.dependents
    from ${tables}execution_task n join ${tables}execution e on e.id = n.execution
    join ${tables}workflow_task w on w.workflow = e.workflow and w.n = n.n
), counted as (
    select n.task, count(d.task) as open from node n cross join unnest(n.dependencies) as x (n)
    left join node d on d.execution = n.execution and d.n = x.n and d.state in ('waiting', 'ready')
    where n.state = 'waiting' group by n.task
)
select concat_ws(', ',
    (select 'ready without a live task: ' || string_agg(task::text, ' ') from node n
     where state = 'ready' and not exists (select from ${tables}task t where t.id = n.task)),
    (select 'live without being ready: ' || string_agg(task::text, ' ') from node n
     join ${tables}task t on t.id = n.task where n.state <> 'ready' and not (n.state = 'cancelled' and t.cancelled)),
    (select 'live without a node: ' || string_agg(t.id::text, ' ') from ${tables}task t
     where t.execution is not null and not exists (select from node n where n.task = t.id)),
    (select 'miscounted: ' || string_agg(n.task::text, ' ') from node n join counted c on c.task = n.task
     where n.remaining <> c.open or n.remaining = 0),
    (select 'open in an execution that ended: ' || string_agg(task::text, ' ') from node
     where execution_end is not null and state in ('waiting', 'ready')),
    (select 'executions miscounted: ' || string_agg(x.execution::text, ' ') from (
        select execution from node where execution_end is null group by execution
        having count(*) filter (where dependents = '{}' and state in ('waiting', 'ready')) <> max(finals) or max(finals) = 0) x),
    (select 'claimable though paused: ' || string_agg(task::text, ' ') from node n join ${tables}task t on t.id = n.task
     where execution_state = 'paused' and n.state = 'ready' and t.run_at < 'infinity'))

}

# -------------------------------------------------------------------------------------------------------------- at the end

# All that must hold once every execution has ended.
sub check {
    my ($url) = @_;
    is(recovery::must($url, "select count(*) from ${tables}execution where finished_at is null"), 0, 'every execution has ended');
    is(recovery::must($url, "select count(*) from ${tables}task"), 0, 'no task is stuck');
    is(recovery::must($url, "select count(*) from ${tables}execution where remaining <> 0"), 0, 'no execution waits for anything');
    is(contradictions($url), '', 'tables agree with each other');
    my @executions = map { decode_json($_) } split /\n/, recovery::must($url, <<"");
select json_build_object('id', e.id, 'workflow', e.name, 'state', e.state, 'error', e.error,
    'tasks', (select json_agg(json_build_object('name', w.name, 'task', n.task, 'state', n.state) order by n.n)
        from ${tables}execution_task n join ${tables}workflow_task w on w.workflow = e.workflow and w.n = n.n where n.execution = e.id),
    'effects', (select json_object_agg(f.task, f.effects) from (
        select f.task, count(*) as effects from effect f join ${tables}execution_task n on n.task = f.task where n.execution = e.id
        group by f.task) f),
    'events', (select json_agg(json_build_array(coalesce(v.task, 0), v.state) order by v.id)
        from ${tables}execution_event v where v.execution = e.id and v.state <> 'signalled'))
from ${tables}execution e order by e.id

    is_deeply([map { wrong_states($_) } @executions], [], 'each state follows from those before');
    is_deeply([map { wrong_events($_) } @executions], [], 'events come in a legal order');
    is_deeply([map { wrong_effects($_) } @executions], [], 'each completion had its effect, and nothing else had one');
    is(recovery::must($url, 'select count(*) - count(distinct (task, lease_id)) from effect'), 0, 'a lease has one effect');
    my (%states, %tasks);
    $states{ $_->{state} }++, map { $tasks{ $_->{state} }++ } @{ $_->{tasks} } for @executions;
    note("executions: ", encode(\%states), "; tasks: ", encode(\%tasks));
    return (\%states, \%tasks);
}

sub encode {
    return JSON::PP->new->canonical->encode($_[0]);
}

# Tasks whose state contradicts their trigger and what was before them. Those that were cancelled need no reason.
sub wrong_states {
    my ($execution) = @_;
    my %state = map { $_->{name} => $_->{state} } @{ $execution->{tasks} };
    my $is_failed = grep { /failed|cancelled/ } values %state;
    my $closed = $execution->{state} eq 'cancelled';
    my @wrong = grep {
        my $fires = fires($triggers{ $execution->{workflow} }{$_}, map { [$_, $state{$_}] } @{ $dependencies{ $execution->{workflow} }{$_} });
        $state{$_} !~ ($fires ? qr/^(completed|failed|cancelled)$/ : $closed ? qr/^(skipped|cancelled)$/ : qr/^skipped$/);
    } sort keys %state;
    push @wrong, "is $execution->{state}" if !$closed && $execution->{state} ne ($is_failed ? 'failed' : 'completed');
    return map { "execution $execution->{id}: $_" . ($state{$_} ? " is $state{$_}" : '') } @wrong;
}

# dependencies: [name, state], ...
sub fires {
    my ($trigger, @dependencies) = @_;
    my %state = map { @$_ } @dependencies;
    return !grep { $_ ne 'completed' } values %state if !$trigger;
    return 1 if !ref $trigger;
    my ($quantifier) = keys %$trigger;
    my @holds = map {
        my ($kind, $name) = %$_;
        my $wanted = { task_success => qr/^completed$/, task_failed => qr/^(failed|cancelled)$/, task_skipped => qr/^skipped$/ }->{$kind};
        scalar($state{$name} =~ $wanted);
    } @{ $trigger->{$quantifier} };
    my $holding = grep { $_ } @holds;
    return $quantifier eq 'all' ? $holding == @holds : $quantifier eq 'any' ? $holding > 0 : $holding == 0;
}

# What may come after what; a retry of the execution lets those that ended begin again.
my %of_task = (
    none => 'ready|skipped|cancelled',
    (map { $_ => 'running|cancelled' } qw(ready retrying released deferred awaiting)),
    running => 'running|completed|failed|cancelled|retrying|released|deferred|awaiting',
);
my %of_execution = (
    none => 'pending',
    pending => 'running|paused|completed|failed|cancelled',
    running => 'paused|completed|failed|cancelled',
    paused => 'resumed|completed|failed|cancelled',
    resumed => 'running|paused|completed|failed|cancelled',
    completed => '-',
    (map { $_ => 'retried' } qw(failed cancelled)),
    retried => 'paused|completed|failed|cancelled',
);

sub wrong_events {
    my ($execution) = @_;
    my (%last, @wrong);
    for (@{ $execution->{events} }) {
        my ($task, $state) = @$_;
        my $before = $last{$task} // 'none';
        my $legal = $task ? $of_task{$before} // '-' : $of_execution{$before};
        push @wrong, "execution $execution->{id}, task $task: $state after $before" if $state !~ /^($legal)$/;
        $last{$task} = $state;
        next if $task || $state ne 'retried';
        $last{$_} =~ /^(completed|failed|skipped|cancelled)$/ and $last{$_} = 'none' for grep { $_ } keys %last;
    }
    push @wrong, "execution $execution->{id}: its last event is $last{0}" if $last{0} ne $execution->{state};
    push @wrong, map { "task $_->{task} of execution $execution->{id} is $_->{state}, its last event was " . ($last{ $_->{task} } // 'none') }
        grep { my $last = $last{ $_->{task} } // 'none'; $last ne $_->{state} && !($last eq 'none') } @{ $execution->{tasks} };
    return @wrong;
}

sub wrong_effects {
    my ($execution) = @_;
    my %completed;
    $_->[1] eq 'completed' && $_->[0] and $completed{ $_->[0] }++ for @{ $execution->{events} };
    my $effects = $execution->{effects} // {};
    my %tasks = (%completed, %$effects);
    my @wrong = grep { ($completed{$_} // 0) != ($effects->{$_} // 0) } sort keys %tasks;
    push @wrong, map { $_->{task} } grep { $_->{state} eq 'completed' && !$completed{ $_->{task} } } @{ $execution->{tasks} };
    return map { "task $_ of execution $execution->{id}: completed " . ($completed{$_} // 0) . ' times, effects ' . ($effects->{$_} // 0) } @wrong;
}

1;
