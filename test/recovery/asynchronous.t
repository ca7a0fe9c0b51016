#!/usr/bin/perl
# Which transactions may be answered before they are on the disk: those that wrote nothing but claims. Everything that stands together with
# anything else in its transaction is as durable as the session wants it. And after a crash a claim that was lost has never been.
#
# The WAL writer, which would write it all out a moment later, is stopped (SIGSTOP), so that what lies between the end of the WAL and
# what was flushed shows how the last transaction committed.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use Test::More;

recovery::under_cluster(
    map { ('--conf', $_) } 'wal_level = minimal', 'max_wal_senders = 0', 'autovacuum = off', 'checkpoint_timeout = 1h',
    'bgwriter_lru_maxpages = 0'
);
recovery::build();
my $url = recovery::postgres_url();
use constant { AT_ONCE => 'at once', DURABLY => 'durably' };
my $claim = "select task, lease_id from cloaca.claim('work', lease => '1 day')";
my $insert = "insert into note values ('written')";
my $held = 'select id as task, lease_id from cloaca_default.cloaca_task where lease_id is not null limit 1';
my $wal_writer;
my ($session, $watcher);

END {
    kill 'CONT', $wal_writer if $wal_writer;
}

recovery::must($url, $_) for 'create extension cloaca', 'create table note (body text)', 'create sequence number',
    "select count(*) from cloaca.enqueue_many('task', array_fill('1'::jsonb, array[2000]), queue => 'work')",
    q{select from cloaca.define_workflow('flow', '{"queue": "flow", "tasks": [{"name": "task"}]}')},
    "select s.* from generate_series(1, 3) g, cloaca.start_workflow('flow', key => g::text) s",
    q{create function claim_and_write() returns void language plpgsql as $$
        begin
            perform from cloaca.claim('work', lease => '1 day');
            insert into note values ('written');
        end $$},
    q{create function write_and_claim() returns setof bigint language sql
        as $$insert into note values ('written'); select task from cloaca.claim('work', lease => '1 day')$$},
    q{create function fail_and_claim() returns void language plpgsql as $$
        begin
            begin
                insert into note values ('written');
                raise division_by_zero;
            exception when division_by_zero then
                null;
            end;
            perform from cloaca.claim('work', lease => '1 day');
        end $$};
begin();
alone();
together();
settings();
nothing();
crash();
done_testing();

sub begin {
    $session = dialogue->new($url);
    $watcher = dialogue->new($url);
    $session->ask('create temp table own (body text)');
    $session->ask($claim);
    stop_wal_writer();
}

# It may only just be starting.
sub stop_wal_writer {
    recovery::comes(sub { $wal_writer = $watcher->ask("select pid from pg_stat_activity where backend_type = 'walwriter'") });
    kill 'STOP', $wal_writer or die "the WAL writer cannot be stopped: $!\n";
    recovery::comes(sub { recovery::read_file("/proc/$wal_writer/stat") =~ /\) T/ }) or die "the WAL writer does not stop\n";
}

# How many bytes of the WAL are not flushed. A page's header may be counted where nothing is behind it.
sub unflushed {
    my $bytes = $watcher->ask('select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn())');
    return $bytes > 40 ? $bytes : 0;
}

# Transactions that wait for the disk, and so flush everything.
sub flush {
    for (1 .. 20) {
        $watcher->ask($insert);
        return if unflushed() == 0;
    }
    die "the WAL is not flushed\n";
}

# Whether the transaction that this makes commits asynchronously (AT_ONCE) or not (DURABLY). A look into the catalogue may clean a page of it
# and leave a record of that in the WAL: so not every look is right, but one of three.
sub commits {
    my ($how, $name, $transaction) = @_;
    my ($said, $bytes);
    for (1 .. 3) {
        flush();
        $said = ref $transaction ? $transaction->() : $session->ask($transaction);
        $bytes = unflushed();
        last if $said ne '' && $said =~ /ERROR|WARNING/ or $how eq AT_ONCE ? $bytes > 0 : $bytes == 0;
    }
    unlike($said, qr/ERROR|WARNING/, "$name: no error");
    ok($how eq AT_ONCE ? $bytes > 0 : $bytes == 0, "$name: commits $how") or diag("$bytes bytes are not flushed");
}

sub alone {
    commits(AT_ONCE, 'a claim', $claim);
    commits(AT_ONCE, 'a claim of several', "select cloaca.claim('work', 'worker', 5, '1 day')");
    commits(AT_ONCE, 'a claim in a block', "begin; $claim; commit");
    commits(AT_ONCE, 'two claims in a block', "begin; $claim; $claim; commit");
    commits(AT_ONCE, 'a claim and a look', "begin; select count(*) from note; $claim; select count(*) from note; commit");
    commits(AT_ONCE, 'a claim in PL/pgSQL', "do \$\$ begin perform from cloaca.claim('work', lease => '1 day'); end \$\$");
    commits(AT_ONCE, 'two claims in PL/pgSQL', "do \$\$ begin for i in 1 .. 2 loop perform from cloaca.claim('work', lease => '1 day'); end loop; end \$\$");
    commits(AT_ONCE, 'a prepared claim', "prepare p as $claim; execute p");
    commits(AT_ONCE, 'a claim in a pipeline', sub { pipeline($claim) });
    commits(AT_ONCE, 'a claim of a task of an execution', "select 1 / count(*) from cloaca.claim('flow', lease => '1 day') where execution is not null");
    $session->ask("begin; select cloaca.claim('work', lease => '1 ms'); commit");
    commits(AT_ONCE, 'a claim of an expired task', "select pg_sleep(0.01); $claim");
}

# Whatever else is written, before, after or in the same statement.
sub together {
    commits(DURABLY, 'a claim and an insert in one statement', "with c as ($claim) insert into note select task from c");
    commits(DURABLY, 'an insert and a claim in one statement', "with i as ($insert returning 1) select * from i, cloaca.claim('work', lease => '1 day')");
    commits(DURABLY, 'PL/pgSQL that claims and writes', 'select claim_and_write()');
    commits(DURABLY, 'SQL that writes and claims', 'select write_and_claim()');
    commits(DURABLY, 'a write that was rolled back, and a claim', 'select fail_and_claim()');
    my @writes = ($insert, "select nextval('number')", "savepoint s; $insert; rollback to s", "savepoint s; $insert; release s",
        'create table made (id int); drop table made', 'delete from note', 'truncate note', 'select from note limit 1 for update',
        "select cloaca.enqueue('more', queue => 'work')", "select cloaca.enqueue('more', queue => 'work', key => gen_random_uuid()::text)",
        "select cloaca.set_queue('other', paused => true)", "select cloaca.complete(task, lease_id) from ($held) h",
        "select cloaca.extend(task, lease_id) from ($held) h", "select cloaca.release(task, lease_id) from ($held) h",
        "select cloaca.fail(task, lease_id, 'error') from ($held) h", 'create temp table t (id int); drop table t');
    for my $write (@writes) {
        commits(DURABLY, "$write before a claim", "alter sequence number restart; begin; $write; $claim; commit");
        commits(DURABLY, "$write after a claim", "alter sequence number restart; begin; $claim; $write; commit");
        commits(DURABLY, "$write between claims", "alter sequence number restart; begin; $claim; $write; $claim; commit");
    }
    # Who has a transaction's number may ask another server, or this one after a crash, what became of it.
    commits(DURABLY, 'a number of the transaction before a claim', "begin; select pg_current_xact_id(); $claim; commit");
    commits(DURABLY, 'a temporary row before a claim', "begin; insert into own values ('x'); $claim; commit");
    # At its end a session drops its temporary tables, and waits for the disk.
    $session->ask('drop table own');
    commits(DURABLY, 'one message with a claim and an insert', "$claim \\; $insert");
    commits(DURABLY, 'one message with an insert and a claim', "$insert \\; $claim");
    commits(DURABLY, 'a prepared transaction', "begin; $claim; prepare transaction 'p'; commit prepared 'p'");
    for my $statements ([$claim, $insert], [$insert, $claim], [$claim, $insert, $claim]) {
        commits(DURABLY, 'a pipeline: ' . join('; ', @$statements), sub { pipeline(@$statements) });
    }
    commits(DURABLY, 'an insert after a claim committed', "$claim; $insert");
    commits(DURABLY, 'a completion', "select cloaca.complete(task, lease_id) from ($held) h");
}

sub pipeline {
    open my $pipe, '-|', 'sh', '-c', 'exec build/test/recovery_pipeline "$@" 2>&1', 'sh', $url, @_ or die;
    local $/;
    my $said = <$pipe> // '';
    return close $pipe ? $said : "ERROR: $said";
}

# What the session wants counts, and is the same after a claim.
sub settings {
    for my $level ('off', 'local', 'remote_write', 'on', 'remote_apply') {
        $session->ask("set synchronous_commit = $level");
        commits(AT_ONCE, "synchronous_commit = $level", $claim);
        is($session->ask('show synchronous_commit'), $level, "$level is kept");
        commits($level eq 'off' ? 'at once' : DURABLY, "an insert under $level", $insert);
        $session->ask("begin; set local synchronous_commit = local; $claim; commit");
        is($session->ask('show synchronous_commit'), $level, "$level is back after SET LOCAL");
        $session->ask("begin; $claim; select 1 / 0; commit");
        is($session->ask('show synchronous_commit'), $level, "$level is kept by an error");
    }
    $session->ask('set synchronous_commit = on');
    commits(DURABLY, 'an insert after an error', $insert);
    $session->ask('set cloaca.asynchronous_claims = off');
    commits(DURABLY, 'a claim, when the setting is off', $claim);
    $session->ask('set cloaca.asynchronous_claims = on');
    commits(AT_ONCE, 'a claim, when it is on again', $claim);
    commits(AT_ONCE, 'a claim with bound leases', "set cloaca.bind_leases = on; $claim; set cloaca.bind_leases = off");
    $session->ask("begin; $claim; rollback");
    commits(DURABLY, 'an insert after a claim that was rolled back', $insert);
}

# A claim that finds nothing writes nothing.
sub nothing {
    my $end = 'select pg_current_wal_insert_lsn()';
    my $before = $watcher->ask($end);
    $session->ask("select cloaca.claim('empty')") for 1 .. 10;
    is($session->ask("begin; select cloaca.claim('empty'); select pg_current_xact_id_if_assigned()"), '', 'an empty claim takes no transaction id');
    $session->ask('commit');
    is($watcher->ask($end), $before, 'an empty claim writes nothing');
}

# SIGKILL for the server right after a claim was answered.
sub crash {
    recovery::must($url, "select cloaca.enqueue('task', queue => 'crash')");
    my ($task, $lease, $attempt) = split /\|/, $session->ask("select task, lease_id, attempt from cloaca.claim('crash', lease => '1 day')");
    cmp_ok(unflushed(), '>', 0, 'crash: the claim is not on the disk');
    restart();
    my ($again, $other, $other_attempt) = split /\|/,
        $session->ask("select task, lease_id, attempt from cloaca.claim('crash', lease => '1 day')");
    is($again, $task, 'crash: the task is claimable again');
    isnt($other, $lease, 'crash: under another lease');
    is($other_attempt, $attempt, 'crash: the lost attempt does not count');
    for my $call ("complete($task, $lease)", "extend($task, $lease)", "release($task, $lease)", "fail($task, $lease, 'error')") {
        like($session->ask("select cloaca.$call"), qr/^ERROR: +lease lost/, "crash: the old lease is refused by $call");
    }
    cmp_ok(unflushed(), '>', 0, 'crash: the new claim is not on the disk either');
    is($session->ask("select cloaca.complete($task, $other)"), '', 'crash: the task is completed');
    is(unflushed(), 0, 'crash: and that is on the disk');
    restart();
    is($session->ask("select count(*) from cloaca_default.cloaca_task where queue = 'crash'"), 0, 'crash: it stays completed');
    like($session->ask("select cloaca.complete($task, $other)"), qr/^ERROR: +lease lost/, 'crash: once');

    # A claim of the whole queue is lost with everything after it that did not wait either, and nothing else.
    $session->ask($insert);
    my $notes = $session->ask('select count(*) from note');
    my $held = $session->ask('select count(*) from cloaca_default.cloaca_task where lease_id is not null');
    cmp_ok($session->ask("select count(*) from cloaca.claim('work', max => 10000, lease => '1 day')"), '>', 50, 'crash: many are claimed');
    restart();
    is($session->ask('select count(*) from cloaca_default.cloaca_task where lease_id is not null'), $held, 'crash: none of them is claimed');
    is($session->ask('select count(*) from note'), $notes, 'crash: what was written before is there');
}

# The WAL writer must not wake: it would write out what was lost.
sub restart {
    my ($postmaster) = split /\n/, recovery::read_file("$ENV{CLOACA_PGDATA}/postmaster.pid");
    kill 'STOP', $postmaster;
    kill 'KILL', $wal_writer;
    recovery::kill_postmaster();
    $_->close for $session, $watcher;
    recovery::start_postmaster();
    begin_again();
}

sub begin_again {
    $session = dialogue->new($url);
    $watcher = dialogue->new($url);
    stop_wal_writer();
}
