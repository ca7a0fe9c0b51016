# Executions of random workflows under load, on either database: how to define and start them, and what must hold of them while workers
# (test/recovery/flows.c, and worker.c on SQLite) run, and at the end.
package flows;
use strict;
use warnings;
use JSON::PP qw(decode_json encode_json);
use Test::More;

my %dependencies;    # of the workflows that were defined here: by workflow and task
my %triggers;

# ------------------------------------------------------------------------------------------------------------ what to run

# The table of effects, beside cloaca's own tables. A workflow's tasks are defined as [name, [dependencies], trigger].
sub set_up {
    my ($url) = @_;
    if (is_sqlite($url)) {
        system("build/cloaca --url '$url' init >$recovery::folder/init.out") == 0 or die "cloaca init failed\n";
    } else {
        recovery::must($url, 'create extension cloaca');
    }
    recovery::must($url, 'create table effect (task bigint, lease_id bigint, worker text); create index effect_task on effect (task)');
}

sub is_sqlite {
    return $_[0] =~ /^sqlite/;
}

# Calls a function so many times. A definition may be too long for a command line.
sub call {
    my ($url, $function, $arguments, $count) = @_;
    my $rows = 'generate_series(1, ' . ($count // 1) . ')';
    my $statements = "$recovery::folder/call.sql";
    my ($file) = $url =~ m{^sqlite:///([^?]*)};
    my @command = $file ? ('sqlite3', '-bail', $file, ".read $statements") : ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $statements, $url);
    open my $output, '>', $statements or die "$statements: $!\n";
    print $output $file ? ".timeout 120000\n.load build/cloaca_sqlite\nbegin immediate;\nselect count(cloaca_$function($arguments)) from $rows;\ncommit;\n"
        : "select count(*) from (select cloaca.$function($arguments) from $rows) s;\n";
    close $output;
    system("@{[map { quotemeta } @command]} >>$recovery::folder/call.out") == 0 or die "$function failed\n";
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
    call($url, 'define_workflow', "'$name', '$text'");
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
    call($url, 'start_workflow', "'$name'", $count);
}

sub unfinished {
    my ($url) = @_;
    return recovery::ask($url, 'select count(*) from ' . recovery::table($url, 'execution') . ' where finished_at is null');
}

# Waits for as long as workers bring the executions forward, or until one fails; what it says then.
sub until_done {
    my ($url) = @_;
    my ($task, $node) = map { recovery::table($url, $_) } qw(task execution_task);
    my $left = "select (select count(*) from $task) + (select count(*) from $node where state in ('waiting', 'ready'))";
    my @failures;
    recovery::reaches(sub {
        @failures = recovery::failures();
        recovery::ask($url, 'select count(*) from cloaca.run_maintenance()') if !is_sqlite($url);
        return @failures ? 0 : recovery::ask($url, $left);
    }, 0);
    return @failures;
}

# ---------------------------------------------------------------------------------------------------------- at any moment

# What one snapshot shows must agree with itself, whatever goes on: the contradictions, '' when there is none, undef without an answer.
sub contradictions {
    my ($url) = @_;
    my ($execution, $node, $workflow_task, $task) = map { recovery::table($url, $_) } qw(execution execution_task workflow_task task);
    my ($numbers, $none, $never) = is_sqlite($url) ? ('json_each(n.dependencies) as x', "'[]'", '9223372036854775807')
        : ('unnest(n.dependencies) as x (value)', "'{}'", "'infinity'");
    my $answer = recovery::ask($url, <<"");
with node as materialized (
    select n.*, e.workflow, e.state as execution_state, e.finished_at as execution_end, e.remaining as finals, w.dependencies, w.dependents
    from $node n join $execution e on e.id = n.execution
    join $workflow_task w on w.workflow = e.workflow and w.n = n.n
), counted as (
    select n.task, count(d.task) as open from node n cross join $numbers
    left join $node d on d.execution = n.execution and d.n = x.value and d.state in ('waiting', 'ready')
    where n.state = 'waiting' group by n.task
)
select 'ready without a live task', task from node n
where state = 'ready' and not exists (select 1 from $task t where t.id = n.task)
union all
select 'live without being ready', task from node n
join $task t on t.id = n.task where n.state <> 'ready' and not (n.state = 'cancelled' and t.cancelled)
union all
select 'live without a node', t.id from $task t
where t.execution is not null and not exists (select 1 from node n where n.task = t.id)
union all
select 'miscounted', n.task from node n join counted c on c.task = n.task
where n.remaining <> c.open or n.remaining = 0
union all
select 'open in an execution that ended', task from node
where execution_end is not null and state in ('waiting', 'ready')
union all
select 'executions miscounted', x.execution from (
    select execution from node where execution_end is null group by execution
    having count(*) filter (where dependents = $none and state in ('waiting', 'ready')) <> max(finals) or max(finals) = 0) x
union all
select 'claimable though paused', n.task from node n join $task t on t.id = n.task
where execution_state = 'paused' and n.state = 'ready' and t.run_at < $never

    return defined $answer ? join ', ', split /\n/, $answer =~ s/\|/: /gr : undef;
}

# -------------------------------------------------------------------------------------------------------------- at the end

# All that must hold once every execution has ended.
sub check {
    my ($url) = @_;
    my %table = map { $_ => recovery::table($url, $_) } qw(execution task);
    is(recovery::must($url, "select count(*) from $table{execution} where finished_at is null"), 0, 'every execution has ended');
    is(recovery::must($url, "select count(*) from $table{task}"), 0, 'no task is stuck');
    is(recovery::must($url, "select count(*) from $table{execution} where remaining <> 0"), 0, 'no execution waits for anything');
    is(contradictions($url), '', 'tables agree with each other');
    my @executions = map { decode_json($_) } split /\n/, recovery::must($url, executions($url));
    is_deeply([map { wrong_states($_) } @executions], [], 'each state follows from those before');
    is_deeply([map { wrong_events($_) } @executions], [], 'events come in a legal order');
    is_deeply([map { wrong_effects($_) } @executions], [], 'each completion had its effect, and nothing else had one');
    is(recovery::must($url, 'select count(*) - (select count(*) from (select distinct task, lease_id from effect) e) from effect'), 0,
        'a lease has one effect');
    my (%states, %tasks);
    $states{ $_->{state} }++, map { $tasks{ $_->{state} }++ } @{ $_->{tasks} } for @executions;
    note("executions: ", encode(\%states), "; tasks: ", encode(\%tasks));
    return (\%states, \%tasks);
}

# Executions with the states of their tasks, with effects and events, each a line of JSON.
sub executions {
    my ($url) = @_;
    my ($execution, $node, $workflow_task, $event) = map { recovery::table($url, $_) } qw(execution execution_task workflow_task execution_event);
    my %form = is_sqlite($url) ? (object => 'json_object', array => 'json_array', objects => 'json_group_array', pairs => 'json_group_object')
        : (object => 'json_build_object', array => 'json_build_array', objects => 'json_agg', pairs => 'json_object_agg');
    return <<"";
select $form{object}('id', e.id, 'workflow', e.name, 'state', e.state, 'error', e.error,
    'tasks', (select $form{objects}($form{object}('name', t.name, 'task', t.task, 'state', t.state)) from (
        select w.name, n.task, n.state from $node n join $workflow_task w on w.workflow = e.workflow and w.n = n.n
        where n.execution = e.id order by n.n) t),
    'effects', (select $form{pairs}(cast(f.task as text), f.effects) from (
        select n.task, count(*) as effects from $node n join effect f on f.task = n.task where n.execution = e.id group by n.task) f),
    'events', (select $form{objects}($form{array}(coalesce(v.task, 0), v.state)) from (
        select v.task, v.state from $event v where v.execution = e.id and v.state <> 'signalled' order by v.id) v))
from $execution e order by e.id

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

# What may come after what; a retry of the execution lets those that ended begin again. A task that waits has no event, and each that has
# ended has one that says so.
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
    my (%last, %begins_again, @wrong);
    for (@{ $execution->{events} }) {
        my ($task, $state) = @$_;
        my $before = $begins_again{$task} ? 'none' : $last{$task} // 'none';
        my $legal = $task ? $of_task{$before} // '-' : $of_execution{$before};
        push @wrong, "execution $execution->{id}, task $task: $state after $before" if $state !~ /^($legal)$/;
        $last{$task} = $state;
        delete $begins_again{$task};
        next if $task || $state ne 'retried';
        $last{$_} =~ /^(completed|failed|skipped|cancelled)$/ and $begins_again{$_} = 1 for grep { $_ } keys %last;
    }
    push @wrong, "execution $execution->{id}: its last event is $last{0}" if $last{0} ne $execution->{state};
    push @wrong, map { "task $_->{task} of execution $execution->{id} is $_->{state}, its last event was " . ($last{ $_->{task} } // 'none') }
        grep { ($last{ $_->{task} } // 'none') ne ($_->{state} eq 'waiting' ? 'none' : $_->{state}) } @{ $execution->{tasks} };
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
