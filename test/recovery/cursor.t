#!/usr/bin/perl
# Every way by which a task becomes claimable below the place where claims begin to look: it is found in time. That is at once where
# the session itself did it, or where the cursors are shared and a function of cloaca did it; within cloaca.repair_interval otherwise.
# And what cursors are for: few pages are read, however many finished tasks cannot be vacuumed.
#
# "At once" is tested with a repair interval of an hour, so that nothing else can have found the task.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use modes;
use recovery;
use standby;
use JSON::PP ();
use POSIX ();
use Test::More;

modes::under_clusters('preloaded' => ['--preload'], 'not preloaded' => []);
$recovery::folder = File::Temp::tempdir('cloaca-recovery-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $is_shared = modes::name() eq 'preloaded';
my $url = recovery::postgres_url();
my $task_table = recovery::table($url, 'task');
my $insert = "insert into $task_table (queue, name, priority, run_at, max_attempts, enqueued_at, payload)";
my ($queue, $cases) = ('', 0);
my ($claimer, $other);    # sessions
my %benches;    # by their process ids

END {
    kill 'INT', keys %benches if %benches;
}

recovery::must($url, 'create extension cloaca');
hidden();
rolled_back();
told();
meanwhile();
done_by_hand();
leases();
priorities();
by_itself();
tables_rewritten();
tenant_again();
many_queues();
held_snapshot();
storm();
crash();
promotion();
done_testing();

# -------------------------------------------------------------------------------------------------------------------- cases

# How the task is to be found: at once, in every mode (OWN); at once or soon where cursors are shared (TOLD, SOON), by a look below
# otherwise; by a look below (REPAIR).
use constant { OWN => 'own', TOLD => 'told', SOON => 'soon', REPAIR => 'repair' };

# Runs a case in a queue of its own and with sessions of its own, and expects that the claimer finds one task. The claimer lives an hour
# ahead of the others, and its cursor stands half an hour ahead of them after pass_over().
sub finds {
    my ($name, $kind, $case) = @_;
    my $is_exact = $kind eq OWN || ($is_shared && $kind ne REPAIR);
    begin($is_exact ? '1h' : '300ms');
    my $task = $case->();
    my ($found, $tries) = poll();
    is($found, $task, "$name: the task is found");
    is($tries, 1, "$name: at once") if $is_exact && $kind ne SOON;
    $_->close for $claimer, $other;
}

sub begin {
    my ($interval) = @_;
    $queue = 'queue' . ++$cases;
    $other = dialogue->new($url, 'cloaca.repair_interval' => $interval);
    $claimer = dialogue->new($url, 'cloaca.repair_interval' => $interval);
    $claimer->ask("select set_config('cloaca.clock', (clock_timestamp() + interval '1 hour')::text, false)");
}

# Claims until there is something: the tasks, and the number of claims.
sub poll {
    my ($found, $tries) = ('', 0);
    recovery::comes(sub {
        $tries++;
        $found = $claimer->ask("select task from cloaca.claim('$queue', max => 10)");
        return $found ne '';
    });
    return ($found, $tries);
}

# Lets the cursor of a priority pass everything that is there now: the claimer takes a task that is due half an hour later.
sub pass_over {
    my ($priority) = @_;
    $priority //= 0;
    my $later = recovery::must($url, "select task from cloaca.enqueue('later', queue => '$queue', delay => '30 minutes', priority => $priority)");
    my ($task, $lease) = split /\|/, $claimer->ask("select task, lease_id from cloaca.claim('$queue', max => 10, lease => '1 day')");
    die "$queue: claimed $task instead of $later\n" if $task ne $later;
    $claimer->ask("select cloaca.complete($task, $lease)");
    return;
}

sub enqueue {
    my ($session, $arguments) = @_;
    return $session->ask("select task from cloaca.enqueue('task', queue => '$queue'" . ($arguments ? ", $arguments)" : ')'));
}

# Enqueues a task that the other session claims: its id and lease.
sub held {
    my $task = enqueue($other);
    $other->ask($_[0]) if $_[0];
    my ($claimed, $lease) = split /\|/, $other->ask("select task, lease_id from cloaca.claim('$queue', lease => '1 day')");
    die "$queue: claimed $claimed instead of $task\n" if $claimed ne $task;
    return ($task, $lease);
}

sub wait_until {
    my ($query) = @_;
    recovery::comes(sub { recovery::must($url, $query) eq 't' }) or die "never true: $query\n";
}

# Without this none of the other cases would show anything.
sub hidden {
    begin('1h');
    pass_over();
    $other->ask("$insert values ('$queue', 'task', 0, now(), 3, now(), '{}')");
    is($claimer->ask("select task from cloaca.claim('$queue')"), '', 'a cursor hides what was put below it unnoticed');
    $claimer->ask("set cloaca.repair_interval = '10ms'");
    $_->close for $claimer, $other;
}

sub rolled_back {
    finds('a claim rolled back', TOLD, sub {
        my ($task) = held('begin');
        pass_over();
        $other->ask('rollback');
        return $task;
    });
    finds('a claim rolled back to a savepoint', TOLD, sub {
        my ($task) = held('begin; savepoint before');
        pass_over();
        $other->ask('rollback to before');
        return $task;
    });
    finds('a claim rolled back in a released savepoint', TOLD, sub {
        my ($task) = held('begin; savepoint outer_one; savepoint inner_one');
        $other->ask('release inner_one');
        pass_over();
        $other->ask('rollback to outer_one');
        return $task;
    });
    finds('a claim rolled back by an exception', TOLD, sub {
        my $task = enqueue($other);
        $claimer->ask('select pg_advisory_lock(7)');
        $other->tell("begin; do \$\$ begin perform from cloaca.claim('$queue'); perform pg_advisory_xact_lock(7); raise 'no';
            exception when others then null; end \$\$;");
        wait_until("select exists (select from pg_locks where locktype = 'advisory' and not granted)");
        pass_over();
        $claimer->ask('select pg_advisory_unlock(7)');
        $other->answer;
        return $task;
    });
    finds('a claim whose backend was terminated', SOON, sub {
        my ($task) = held('begin');
        my $pid = $other->backend;
        pass_over();
        recovery::must($url, "select pg_terminate_backend($pid, 120000)");
        return $task;
    });
    finds('a claim whose client was killed', SOON, sub {
        my ($task) = held('begin');
        pass_over();
        $other->kill;
        return $task;
    });
    finds('a claim and ROLLBACK PREPARED', TOLD, sub {
        my ($task) = held('begin');
        $other->ask("prepare transaction 'claimed'");
        pass_over();
        recovery::must($url, "rollback prepared 'claimed'");
        return $task;
    });
    finds('an error after the claim', TOLD, sub {
        my ($task) = held('begin');
        pass_over();
        $other->ask('select 1 / 0');
        $other->ask('commit');
        return $task;
    });
}

# Functions of cloaca that make a task claimable.
sub told {
    finds('a late commit', TOLD, sub {
        $other->ask('begin');
        my $task = enqueue($other);
        pass_over();
        $other->ask('commit');
        return $task;
    });
    finds('a late commit of many', TOLD, sub {
        $other->ask('begin');
        my $tasks = $other->ask("select task from cloaca.enqueue_many('task', array['1', '2']::jsonb[], queue => '$queue')");
        pass_over();
        $other->ask('commit');
        return $tasks;
    });
    finds('a late commit by the SQL path', TOLD, sub {
        $other->ask('begin');
        my $task = enqueue($other, "key => 'key'");
        pass_over();
        $other->ask('commit');
        return $task;
    });
    finds('COMMIT PREPARED', TOLD, sub {
        $other->ask('begin');
        my $task = enqueue($other);
        $other->ask("prepare transaction 'enqueued'");
        pass_over();
        recovery::must($url, "commit prepared 'enqueued'");
        return $task;
    });
    finds('run_at far in the past', TOLD, sub {
        pass_over();
        return enqueue($other, "run_at => '1971-01-01'");
    });
    finds('a clock set back', TOLD, sub {
        pass_over();
        $other->ask("set cloaca.clock = '2001-01-01'");
        return enqueue($other);
    });
    my %ending = (
        'a retry after a failure' => "select cloaca.fail(%d, %d, 'error', retry_in => '0')",
        'a release' => 'select cloaca.release(%d, %d)',
        'a deferral to the past' => "select cloaca.defer_until(%d, %d, now() - interval '1 day')",
    );
    for my $name (sort keys %ending) {
        finds($name, TOLD, sub {
            my ($task, $lease) = held();
            pass_over();
            $other->ask(sprintf $ending{$name}, $task, $lease);
            return $task;
        });
        finds("$name, committed late", TOLD, sub {
            my ($task, $lease) = held();
            $other->ask('begin');
            $other->ask(sprintf $ending{$name}, $task, $lease);
            pass_over();
            $other->ask('commit');
            return $task;
        });
    }
    for my $what ('%1$d', "queue => '%2\$s'") {
        finds("a dead letter's return", TOLD, sub {
            my ($task, $lease) = held();
            $other->ask("select cloaca.fail($task, $lease, 'error', final => true)");
            pass_over();
            $other->ask(sprintf "select cloaca.retry_task($what)", $task, $queue);
            return $task;
        });
    }
    finds('a cancelled task is not found, the next one is', TOLD, sub {
        my ($task, $lease) = held();
        pass_over();
        $other->ask("select cloaca.cancel_task($task)");
        $other->ask("select cloaca.release($task, $lease)");
        return enqueue($other);
    });
    finds('a resumed queue', TOLD, sub {
        pass_over();
        $other->ask("select cloaca.set_queue('$queue', paused => true)");
        my $task = enqueue($other);
        is($claimer->ask("select task from cloaca.claim('$queue')"), '', 'a paused queue gives nothing');
        $other->ask("select cloaca.set_queue('$queue', paused => false)");
        return $task;
    });
}

# What becomes claimable while a claim is under way that has its snapshot already, and then moves the cursor. The claim is stopped in the
# middle of it, where it notes in a task's history that a lease expired.
sub meanwhile {
    my $note = recovery::must($url, "select pg_get_functiondef('cloaca.add_error'::regproc)");
    recovery::must($url, $note =~ s/\bcloaca\.add_error\b/cloaca.add_error_before/r);
    my ($arguments) = recovery::must($url, "select pg_get_function_identity_arguments('cloaca.add_error'::regproc)");
    recovery::must($url, "create or replace function cloaca.add_error($arguments) returns jsonb language plpgsql as \$\$
        begin perform pg_advisory_xact_lock(8); return cloaca.add_error_before(\$1, \$2, \$3, \$4, \$5); end \$\$");
    my $stopped = sub {
        my ($event) = @_;
        my $gate = dialogue->new($url);
        my $expired = enqueue($other);
        # By hand, so that no cursor knows of its end, which would be a reason to look below.
        $other->ask("update $task_table set lease_id = 1, lease_until = now(), attempt = 1 where id = $expired");
        $gate->ask('select pg_advisory_lock(8)');
        $claimer->tell("select task from cloaca.claim('$queue')");
        wait_until("select exists (select from pg_locks where locktype = 'advisory' and not granted)");
        my $task = $event->();
        $gate->ask('select pg_advisory_unlock(8)');
        is($claimer->answer, $expired, 'a claim that was stopped goes on');
        $gate->close;
        return $task;
    };
    finds('a commit while a claim is under way', TOLD, sub {
        $stopped->(sub { enqueue($other, "run_at => '1971-01-01'") });
    });
    finds('a rollback while a claim is under way', TOLD, sub {
        my $task = enqueue($other, "run_at => '1971-01-01'");
        my $third = dialogue->new($url);
        $third->ask("begin; select cloaca.claim('$queue', lease => '1 day')");
        $stopped->(sub { $third->ask('rollback'); $third->close; $task });
    });
    recovery::must($url, $note);
}

# What nobody tells: statements of the owner, and locks on rows that a claim passed over.
sub done_by_hand {
    finds('an insert', REPAIR, sub {
        pass_over();
        return $other->ask("$insert values ('$queue', 'task', 0, now(), 3, now(), '{}') returning id");
    });
    finds('an insert committed late', REPAIR, sub {
        my $task = $other->ask("begin; $insert values ('$queue', 'task', 0, now(), 3, now(), '{}') returning id");
        pass_over();
        $other->ask('commit');
        return $task;
    });
    finds('an update of run_at', REPAIR, sub {
        my $task = enqueue($other, "delay => '3 hours'");
        pass_over();
        $other->ask("update $task_table set run_at = now() where id = $task");
        return $task;
    });
    finds('an update of the lease', REPAIR, sub {
        my ($task) = held();
        pass_over();
        $other->ask("update $task_table set lease_id = null, lease_until = null where id = $task");
        return $task;
    });
    finds('an update of the end of a lease', REPAIR, sub {
        my ($task) = held();
        pass_over();
        $other->ask("update $task_table set lease_until = now() where id = $task");
        return $task;
    });
    finds('an update of the queue', REPAIR, sub {
        my $task = recovery::must($url, "select task from cloaca.enqueue('task', queue => 'elsewhere')");
        pass_over();
        $other->ask("update $task_table set queue = '$queue' where id = $task");
        return $task;
    });
    my %lock = (
        'a locked row' => "select from $task_table where id = %d for update",
        'a cancellation rolled back' => 'select cloaca.cancel_task(%d)',
        'a deletion rolled back' => "delete from $task_table where id = %d",
    );
    for my $name (sort keys %lock) {
        finds($name, REPAIR, sub {
            my $task = enqueue($other);
            $other->ask('begin');
            $other->ask(sprintf $lock{$name}, $task);
            pass_over();
            $other->ask('rollback');
            return $task;
        });
    }
}

sub leases {
    finds('an expired lease', OWN, sub {
        my $task = enqueue($other);
        $other->ask("select cloaca.claim('$queue', lease => '2 hours')");
        pass_over();
        $claimer->ask("select set_config('cloaca.clock', (clock_timestamp() + interval '3 hours')::text, false)");
        return $task;
    });
    finds('a lease cut short', REPAIR, sub {
        my ($task, $lease) = held();
        pass_over();
        $other->ask("select cloaca.extend($task, $lease, '1 second')");
        return $task;
    });
    finds('a lease bound to a session that ended', SOON, sub {
        $other->ask('set cloaca.bind_leases = on');
        my ($task) = held();
        pass_over();
        $other->kill;
        return $task;
    });
}

sub priorities {
    for my $priority (-5, 5) {
        finds("a new priority $priority", OWN, sub {
            pass_over();
            return enqueue($other, "priority => $priority");
        });
        finds("priority $priority once more", TOLD, sub {
            pass_over($priority);
            pass_over();
            return enqueue($other, "priority => $priority");
        });
    }
    begin($is_shared ? '1h' : '300ms');
    pass_over($_) for -32768, 0, 32767;
    my @tasks = map { enqueue($other, "priority => $_") } 32767, 0, -32768;
    wait_until("select count(*) = 3 from $task_table where queue = '$queue'");
    recovery::wait_ms(500) if !$is_shared;
    my @found;
    recovery::comes(sub {
        push @found, grep { $_ ne '' } $claimer->ask("select task from cloaca.claim('$queue')");
        return @found == 3;
    });
    my @expected = $is_shared ? reverse @tasks : sort @tasks;
    is_deeply([$is_shared ? @found : sort @found], \@expected, 'all priorities are found, the smallest first');
    $_->close for $claimer, $other;
}

# What a session did itself it knows.
sub by_itself {
    finds('an own claim rolled back', OWN, sub {
        my $task = enqueue($other);
        $claimer->ask("begin; select cloaca.claim('$queue', lease => '1 day')");
        $claimer->ask('rollback');
        return $task;
    });
    finds('an own task, below', OWN, sub {
        pass_over();
        return enqueue($claimer, 'run_at => now()');
    });
    finds('an own task, not yet committed', OWN, sub {
        pass_over();
        $claimer->ask('begin');
        return enqueue($claimer, 'run_at => now()');
    });
    for my $end ('cloaca.release(%d, %d)', "cloaca.fail(%d, %d, 'error', retry_in => '0')") {
        finds("own $end", OWN, sub {
            my $task = enqueue($other);
            my (undef, $lease) = split /\|/, $claimer->ask("select task, lease_id from cloaca.claim('$queue', lease => '1 day')");
            pass_over();
            $claimer->ask(sprintf "select $end", $task, $lease);
            return $task;
        });
    }
    finds('an own clock set back', OWN, sub {
        pass_over();
        $claimer->ask("set cloaca.clock = ''");
        return enqueue($claimer);
    });
}

# ------------------------------------------------------------------------------------------------------------------- tables

# Tasks move to other places, and the index with them.
sub tables_rewritten {
    my @changes = ('vacuum full TABLE', 'cluster TABLE using cloaca_task_claim', 'reindex table TABLE', 'reindex table concurrently TABLE',
        'vacuum (freeze, index_cleanup on) TABLE', 'alter table TABLE set (fillfactor = 90)');
    for my $change (@changes) {
        begin('1h');
        my @tasks = split /\n/, $other->ask("select task from cloaca.enqueue_many('task', array_fill('1'::jsonb, array[60]), queue => '$queue')");
        my @claimed = split /\n/, $claimer->ask("select task, lease_id from cloaca.claim('$queue', max => 20, lease => '1 day')");
        recovery::must($url, $change =~ s/TABLE/$task_table/r);
        my @said = map { $claimer->ask('select cloaca.complete(' . s/\|/, /r . ')') } @claimed;
        is_deeply(\@said, [('') x 20], "$change: claimed tasks are completed");
        my @left = map { split /\n/, $claimer->ask("select task from cloaca.claim('$queue', max => 20)") } 1 .. 2;
        is_deeply(\@left, [@tasks[20 .. 59]], "$change: the others are claimed in their order");
        is($claimer->ask("select count(*) from $task_table where queue = '$queue'"), 40, "$change: and no other");
        $_->close for $claimer, $other;
    }
    finds('a truncated table', TOLD, sub {
        my ($task, $lease) = held();
        pass_over();
        recovery::must($url, "truncate $task_table restart identity");
        my $new = enqueue($other, "run_at => now() - interval '1 day'");
        like($other->ask("select cloaca.complete($task, $lease)"), qr/^ERROR: +lease lost/, 'a lease of before is lost');
        return $new;
    });
}

# A tenant of the same name has tables of its own.
sub tenant_again {
    finds('a tenant dropped and made again', OWN, sub {
        for my $turn (1, 2) {
            recovery::must($url, "select cloaca.create_tenant('again', 'again_user')");
            $_->ask("set cloaca.tenant = 'again'") for $claimer, $other;
            last if $turn == 2;
            my $later = enqueue($other, "delay => '30 minutes'");
            is($claimer->ask("select task from cloaca.claim('$queue')"), $later, 'the first tenant of that name has a task');
            recovery::must($url, "call cloaca.drop_tenant_all('again')");
        }
        return enqueue($other);
    });
}

# ------------------------------------------------------------------------------------------------------------- what is read

# How many pages a statement looks at, and how many rows it gives.
sub pages {
    my ($session, $statement) = @_;
    my $plan = JSON::PP::decode_json($session->ask("explain (analyze, buffers, format json) $statement"))->[0]{Plan};
    return ($plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'}, $plan->{'Actual Rows'});
}

# A tenant with more queues than there are places has no part in the places of another.
sub many_queues {
    my $count = 20_000;
    recovery::must($url, "select cloaca.create_tenant('few', 'few_user')");
    my $holder = dialogue->new($url);
    $holder->ask('begin isolation level repeatable read; select 1');
    begin('1h');
    $claimer->ask("set cloaca.clock = ''");
    my @queues = map { $queue . $_ } 1 .. 8;
    my $most = sub {
        my $pages = 0;
        $claimer->ask("set cloaca.tenant = 'few'");
        for my $name (@queues) {
            my ($read) = pages($claimer, "select * from cloaca.claim('$name')");
            $pages = $read if $read > $pages;
        }
        $claimer->ask("set cloaca.tenant = ''");
        return $pages;
    };
    $claimer->ask("set cloaca.tenant = 'few'");
    for my $name (@queues) {
        $queue = $name;
        finish_many(2000);
    }
    my $before = $most->();
    for my $turn (1, 2) {
        $claimer->ask("select count(*) from generate_series(1, $count) n, cloaca.enqueue('task', queue => 'many' || n)");
        is($claimer->ask("select count(distinct task) from generate_series(1, $count) n, cloaca.claim('many' || n)"), $count,
            "each of $count queues gives its task");
    }
    my $after = $most->();
    # Nor much more: the catalogue may have to be read again.
    cmp_ok($after, '<', $before + 100, "the other tenant's claims read as little as before");
    $claimer->ask("set cloaca.tenant = 'few'");
    my $task = enqueue($claimer);
    is($claimer->ask("select task from cloaca.claim('$queue')"), $task, 'and they find a task');
    note("pages: $before, $after");
    $holder->ask('commit');
    $_->close for $claimer, $other, $holder;
    recovery::must($url, "truncate $task_table");
}

# While a snapshot is held that still sees them, nobody can clear the finished tasks away.
sub held_snapshot {
    my $holder = dialogue->new($url);
    $holder->ask('begin isolation level repeatable read; select 1');
    begin('1h');
    $claimer->ask("set cloaca.clock = ''");
    finish_many(20_000);
    my ($entries) = pages($claimer, "select id from $task_table where queue = '$queue' order by priority, run_at, id");
    cmp_ok($entries, '>', 400, "finished tasks are in the way of others ($entries pages)");
    my ($pages, $rows) = pages($claimer, "select * from cloaca.claim('$queue')");
    cmp_ok($pages, '<', $entries / 4, "a claim of the empty queue reads few pages ($pages)");
    is($rows, 0, 'and finds nothing');
    for (1 .. 3) {
        enqueue($claimer);
        ($pages, $rows) = pages($claimer, "select * from cloaca.claim('$queue')");
        cmp_ok($pages, '<', $entries / 4, "a claim of the nearly empty queue reads few pages ($pages)");
        is($rows, 1, 'and finds the task');
    }
    $holder->ask('commit');
    $_->close for $claimer, $other, $holder;
}

# Enqueues, claims and completes that many tasks, and lets the cursor pass them.
sub finish_many {
    my ($count) = @_;
    for (my $left = $count; $left > 0; $left -= 5000) {
        my $now = $left < 5000 ? $left : 5000;
        $claimer->ask("select count(*) from cloaca.enqueue_many('task', array_fill('1'::jsonb, array[$now]), queue => '$queue')");
        $claimer->ask("select count(*) from (select array_agg(task) tasks, array_agg(lease_id) leases
            from cloaca.claim('$queue', max => 5000, lease => '1 day')) c, cloaca.complete_many(tasks, leases)");
    }
    is($claimer->ask("select count(*) from cloaca.claim('$queue')"), 0, "$count tasks are done");
    recovery::wait_ms(50);
    $claimer->ask("select cloaca.claim('$queue')");
    return;
}

# -------------------------------------------------------------------------------------------------------------------- storm

# Tasks are enqueued by transactions of any length, some of which roll back, and claimed by sessions that complete them, fail them,
# release them or roll back. Everything goes through functions of cloaca, so shared cursors need no repair at all.
sub storm {
    my $interval = $is_shared ? '1h' : '200ms';
    recovery::must($url, "create table born (task bigint primary key); create table done (task bigint primary key);
        select cloaca.set_queue('storm', max_attempts => 1000000, lease => '1 day')");
    my $options = "-c cloaca.repair_interval=$interval";
    my $enqueue = start_bench('enqueue', $options, 6, '-t', 250, <<'END');
\set priority random(-1, 1)
\set wait random(0, 40)
\set dice random(1, 10)
begin;
insert into born select task from cloaca.enqueue('task', queue => 'storm', priority => :priority);
\sleep :wait ms
\if :dice <= 7
commit;
\else
rollback;
\endif
END
    my $claim = start_bench('claim', $options, 6, '-T', $recovery::longest, <<'END');
\set dice random(1, 100)
\set wait random(0, 10)
\set task 0
begin;
\if :dice <= 10
savepoint before;
select task, lease_id from cloaca.claim('storm', max => 2) \aset
rollback to before;
\set task 0
\endif
select task, lease_id from cloaca.claim('storm') \aset
\if :dice <= 30
\sleep :wait ms
rollback;
\set task 0
\else
commit;
\endif
\if :task = 0
\sleep 2 ms
\elif :dice <= 40
select cloaca.release(:task, :lease_id);
\elif :dice <= 50
select cloaca.fail(:task, :lease_id, 'error', retry_in => '0');
\else
begin;
select cloaca.complete(:task, :lease_id);
\sleep :wait ms
\if :dice <= 60
rollback;
select cloaca.release(:task, :lease_id);
\else
insert into done values (:task);
commit;
\endif
\endif
END
    is(reap_bench($enqueue), 0, 'storm: no transaction of an enqueuer fails');
    my $left = sub { recovery::must($url, "select count(*) from $task_table where queue = 'storm'") };
    ok(recovery::reaches($left, 0), 'storm: no task stays behind');
    kill 'INT', $claim;
    reap_bench($claim);
    unlike(recovery::read_file("$recovery::folder/claim.err"), qr/error|aborted/i, 'storm: no call of a claimer fails');
    cmp_ok(recovery::must($url, 'select count(*) from born'), '>', 500, 'storm: there were tasks');
    is(recovery::must($url, 'select count(*) from born full join done using (task) where born.task is null or done.task is null'), 0,
        'storm: each was completed, and once');
}

# Clients that run a script so often each, or for some seconds.
sub start_bench {
    my ($name, $options, $clients, $until, $count, $script) = @_;
    my $file = "$recovery::folder/$name.sql";
    open my $handle, '>', $file or die;
    print $handle $script;
    close $handle or die;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        $ENV{PGOPTIONS} = $options;
        open STDOUT, '>', "$recovery::folder/$name.out" or die;
        open STDERR, '>', "$recovery::folder/$name.err" or die;
        exec "$ENV{CLOACA_PGBIN}/pgbench", '-n', '-f', $file, '-c', $clients, $until, $count or POSIX::_exit(127);
    }
    $benches{$pid} = 1;
    return $pid;
}

sub reap_bench {
    my ($pid) = @_;
    waitpid $pid, 0;
    delete $benches{$pid};
    return $?;
}

# ------------------------------------------------------------------------------------------------------- crash and promotion

# Shared cursors are gone with the server, and so is what was not committed.
sub crash {
    finds('a crash of the server', OWN, sub {
        my ($task) = held('begin');
        pass_over();
        recovery::kill_postmaster();
        $_->close for $claimer, $other;
        recovery::start_postmaster();
        $other = dialogue->new($url);
        $claimer = dialogue->new($url, 'cloaca.repair_interval' => '1h');
        return $task;
    });
}

sub promotion {
    my $standby = standby::start();
    my $there;
    finds('a promoted standby', OWN, sub {
        my ($claimed) = held('begin');
        pass_over();
        $there = dialogue->new($standby, 'cloaca.repair_interval' => '1h');
        die "the standby lags behind:\n" . standby::log_text() unless standby::wait_for($url, $standby);
        like($there->ask("select cloaca.claim('$queue')"), qr/^ERROR: .*(read-only|recovery)/, 'a standby gives no task');
        is(recovery::must($standby, 'select pg_promote(true, 300)'), 't', 'the standby is promoted');
        $claimer->close;
        $claimer = $there;
        return $claimed;
    });
    my $task = recovery::must($standby, "select task from cloaca.enqueue('task', queue => '$queue')");
    my $again = dialogue->new($standby);
    is($again->ask("select task from cloaca.claim('$queue')"), $task, 'the promoted standby goes on');
}
