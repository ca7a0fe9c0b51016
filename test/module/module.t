#!/usr/bin/perl
# The loadable module in the sqlite3 shell and in Python's sqlite3: the functions as tables and as scalars, their arguments and errors.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use Test::More;

my $module = abs_path('build/cloaca_sqlite') // die 'build/cloaca_sqlite.so is not there';
my $folder = tempdir(CLEANUP => 1);
my $number = 0;
# Under the sanitizers, their runtime comes first into programs that do not know of it.
my @preload = $ENV{CLOACA_PRELOAD} ? ('env', "LD_PRELOAD=$ENV{CLOACA_PRELOAD}") : ();

# ---------------------------------------------------------------------------------------------------------------- as tables

is(shell("select * from cloaca_enqueue('mail', '{\"b\":1,\"a\":[1.10]}')"), "1|1\n", 'enqueue');
is(shell("select task, attempt, name, payload, priority, max_attempts, execution is null from cloaca_claim('default', 'w1', 10)"),
    "1|1|mail|{\"a\": [1.10], \"b\": 1}|0|3|1\n", 'claim');
is(shell("select * from cloaca_claim('default', 'w1', 10)"), '', 'claim when there is nothing left');
is(shell("select name, state, worker from cloaca_get_task(1)"), "mail|running|w1\n", 'a column may have the name of an argument');
is(shell("select lease, paused, max_attempts, retention from cloaca_set_queue('default') where lease = '00:00:30'"),
    "00:00:30|0|3|00:00:00\n", 'a where clause on a result column');
is(shell("select queue, lease from cloaca_set_queue where queue_argument = 'q' and lease_argument = '1 day 1 s'"),
    "q|1 day 00:00:01\n", 'arguments as hidden columns');
is(shell("select state, run_at from cloaca_fail(1, (select lease_id from cloaca_task where id = 1), 'no', 0, '1 hour')") =~ s/\d{4}-[^\n]*/time/r,
    "scheduled|time\n", 'fail with an interval');
is(shell("select * from cloaca_retry_task(null, 'default', 10)"), "0\n", 'nulls as arguments');
is(shell("select task, outcome from cloaca_complete_many('[1, 2]', '[3, 4]')"), "1|lease_lost\n2|lease_lost\n", 'arrays as arguments');
is(shell("select count(*) from cloaca_enqueue_many('x', '[1, {}, \"s\"]')"), "3\n", 'rows are counted');
is(shell("select count(*) from cloaca_claim('default', 'w', 2) c join cloaca_task t on t.id = c.task"), "2\n", 'joined with a table');
is(shell("select * from cloaca_release(99, 98)"), "lease_lost: lease lost: Task 99 is not held under this lease.\n", 'a condition');

# --------------------------------------------------------------------------------------------------------------- as scalars

is(shell("select cloaca_enqueue('scalar')"), "[{\"task\":5,\"created\":true}]\n", 'a scalar gives JSON');
is(shell("select cloaca_run_maintenance() -> 0 ->> 'expired'"), "0\n", 'which SQL can take apart');
is(shell("select count(cloaca_enqueue('x', value)) from json_each('[1, 2, 3]')"), "3\n", 'a scalar for each row');
is(shell("select cloaca_list_queues('x')"), "too many arguments\n", 'too many arguments');
is(shell("select cloaca_get_task()"), "invalid_argument: invalid argument: The argument task is missing.\n", 'a missing argument');
is(shell("select cloaca_get_task('one')"),
    "invalid_argument: invalid argument: The task must be an integer from -9223372036854775808 to 9223372036854775807.\n", 'a wrong type');
is(shell("select cloaca_get_task('1') -> 0 ->> 'name'"), "mail\n", 'a number as text');
is(shell("select cloaca_enqueue('x', 'no json')"),
    "invalid_argument: invalid argument: The payload is not valid JSON: a word other than true, false and null at byte 1.\n", 'not JSON');
is(shell("select cloaca_enqueue('x', '{}', 'default', 40000)"),
    "invalid_argument: invalid argument: The priority must be an integer from -32768 to 32767.\n", 'out of range');
is(shell("select cloaca_enqueue(x'ff')"), "invalid_argument: invalid argument: The name must be valid UTF-8 without zero bytes.\n",
    'not UTF-8');
my $no_tenants = "not_supported: not supported: SQLite does not have %s. SQLite has one tenant a file: open another file instead.\n";
is(shell("select cloaca_create_tenant('a', 'b')"), sprintf($no_tenants, 'create_tenant'), 'no tenants, as the library says');
is(shell("select cloaca_rotate_password()"), sprintf($no_tenants, 'rotate_password'), '... whatever the arguments');
is(shell("select * from cloaca_list_tenants()"), sprintf($no_tenants, 'list_tenants'), '... nor as a table');

# ------------------------------------------------------------------------------------------- transactions, joins, other schemas

my $before = shell('select count(*) from cloaca_task');
is(shell("select value, task from json_each('[1, 2]') e, cloaca_enqueue('x', e.value)"),
    "not_supported: not supported: A statement can call cloaca_enqueue as a table once; call it as a scalar for each row.\n",
    'a table that would be filled twice, before anything was enqueued');
is(shell("select * from cloaca_enqueue where name = 'x' and queue in ('a', 'b')"),
    "not_supported: not supported: A statement can call cloaca_enqueue as a table once; call it as a scalar for each row.\n", 'nor by a list');
is(shell('begin', "select count(*) from cloaca_enqueue('rolled back')", "select count(*) from cloaca_enqueue('too')", 'rollback',
        "select count(*) from cloaca_task where name like '%rolled%'"), "1\n1\n0\n", 'calls are in the transaction');
is(shell('create table mine (x)', "insert into mine select task from cloaca_enqueue('x')"),
    "not_supported: not supported: A statement that writes cannot call cloaca_enqueue: select from it first.\n",
    'not inside a statement that writes');
is(shell("insert into mine select cloaca_enqueue('x')"),
    "not_supported: not supported: A statement that writes cannot call cloaca_enqueue: select from it first.\n", '... nor as a scalar');
is(shell('begin', 'insert into mine values (1)', "update mine set x = cloaca_enqueue('x')", 'rollback'),
    "not_supported: not supported: A statement that writes cannot call cloaca_enqueue: select from it first.\n",
    '... nor in a transaction');
is(shell('select count(*) from mine'), "0\n", '... and nothing was changed by it');
is(shell("create view trap as select * from cloaca_enqueue('x')", 'select * from trap'), "unsafe use of virtual table \"cloaca_enqueue\"\n",
    'no table in a view');
is(shell("create view pit as select cloaca_enqueue('x') as y", 'select * from pit'), "unsafe use of cloaca_enqueue()\n", 'no scalar in a view');
is(shell("create trigger trip after insert on mine begin select cloaca_enqueue('x'); end", 'insert into mine values (1)'),
    "unsafe use of cloaca_enqueue()\n", 'nor in a trigger');
is(shell('drop table mine', 'drop view trap', 'drop view pit', 'select count(*) from cloaca_task') - $before, 0, 'nothing was enqueued');

# ---------------------------------------------------------------------------------------------------------------- waiting

is(shell("select ready from cloaca_wait_for_task('[\"nothing\"]', '0')"), "0\n", 'nothing to claim');
is(shell("select ready from cloaca_wait_for_task('[\"nothing\"]', '50 ms')"),
    "not_supported: not supported: A statement that reads a file without a WAL cannot wait: nobody could write meanwhile. "
    . "Call the scalar function, or set the journal mode to WAL.\n", 'a table that would keep the others from writing');
is(shell("select cloaca_wait_for_task('[\"nothing\"]', '50 ms')"), "[{\"ready\":false}]\n", 'as a scalar it waits');
is(shell("select count(*) from cloaca_enqueue('x', '{}', 'something')", "select ready from cloaca_wait_for_task('[\"nothing\", \"something\"]')"),
    "1\n1\n", 'something to claim');
is(shell("select ready from cloaca_wait_for_task('[]')"),
    "invalid_argument: invalid argument: The queues must be an array of 1 to 1000 names.\n", 'no queues');
is(shell('begin', 'select cloaca_wait_for_task()'),
    "in_transaction: not possible inside a transaction block: A wait holds no transaction open.\n", 'not in a transaction');

# ----------------------------------------------------------------------------------------------------------------- in Python

my $python = "$folder/test.py";
write_file($python, <<"END");
import json, sqlite3
c = sqlite3.connect("$folder/python.db", isolation_level=None, timeout=120)
c.enable_load_extension(True)
c.load_extension("$module")
other = sqlite3.connect("$folder/python.db", isolation_level=None, timeout=0)
other.enable_load_extension(True)
other.load_extension("$module")

c.execute("pragma journal_mode = wal")

def error(connection, *arguments):
    try:
        connection.execute(*arguments).fetchall()
    except sqlite3.Error as problem:
        return str(problem)

c.execute("select cloaca_enqueue_many('py', ?)", (json.dumps([{"n": n} for n in range(10)]),)).fetchall()
rows = c.execute("select * from cloaca_claim('default', 'w1', 10)").fetchall()
print(len(rows), [column[0] for column in c.execute("select * from cloaca_claim('default', 'w1', 10)").description])
print(c.execute("select outcome, count(*) from cloaca_complete_many(?, ?) group by 1",
                (json.dumps([row[0] for row in rows]), json.dumps([row[1] for row in rows]))).fetchall())
print(error(c, "select * from cloaca_complete(?, ?)", rows[0][:2]))
# A transaction of Python's own.
c.execute("begin")
c.execute("create table mine (x)")
c.execute("select * from cloaca_enqueue('gone')").fetchall()
c.execute("rollback")
print(c.execute("select count(*) from cloaca_task").fetchall())
# Another connection writes: busy. One that began to read before cannot write after.
c.execute("begin immediate")
print(error(other, "select * from cloaca_enqueue('x')"))
c.execute("rollback")
other.execute("begin")
other.execute("select count(*) from cloaca_task").fetchall()
c.execute("select * from cloaca_enqueue('x')").fetchall()
print(error(other, "select * from cloaca_enqueue('x')"))
other.execute("rollback")
print(other.execute("select created from cloaca_enqueue('x')").fetchall())
# What another connection enqueues while we wait, whether early or late, ends the wait; so does an interrupt.
import threading
def enqueue(queue):
    mine = sqlite3.connect("$folder/python.db", isolation_level=None, timeout=120)
    mine.enable_load_extension(True)
    mine.load_extension("$module")
    mine.execute("select cloaca_enqueue('x', '{}', ?)", (queue,)).fetchall()
    mine.close()
def interrupt():
    while not over.wait(0.1):
        c.interrupt()
threading.Timer(0.2, enqueue, ["table"]).start()
print(c.execute("select ready from cloaca_wait_for_task('[\\"table\\"]', '10 min')").fetchall())
threading.Timer(0.2, enqueue, ["scalar"]).start()
print(c.execute("select cloaca_wait_for_task('[\\"scalar\\"]', '10 min')").fetchall())
for call in "select cloaca_wait_for_task('[\\"never\\"]')", "select * from cloaca_wait_for_task('[\\"never\\"]')":
    over = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    print(error(c, call).split(":")[0])
    over.set()
    thread.join()
c.close()
other.close()
END
is(program('/usr/bin/python3', $python), <<'END', 'in Python');
10 ['task', 'lease_id', 'attempt', 'name', 'payload', 'priority', 'run_at', 'lease_until', 'max_attempts', 'execution', 'timeout']
[('completed', 10)]
lease_lost: lease lost: Task 1 is not held under this lease.
[(0,)]
busy: database is locked: Database is locked.
busy: database is locked: Database is locked.
[(1,)]
[(1,)]
[('[{"ready":true}]',)]
timeout
timeout
END
is(shell({database => "$folder/python.db"}, 'select count(*) from cloaca_list_tasks()'), "4\n", 'the shell sees what Python made');

done_testing();

# Runs statements in the shell, one process; gives what it prints, errors without its own words before them.
sub shell {
    my $options = ref $_[0] ? shift : {};
    my $file = $options->{database} // "$folder/shell.db";
    my $output = program('sqlite3', $file, ".load $module", @_);
    $output =~ s/^(?:Runtime error|Parse error|Error)(?: near line \d+)?:? (?:stepping, |in prepare, )?//mg;
    $output =~ s/ \(\d+\)$//mg;
    $output =~ s/\n  \S.*\n +\^---.*\n|\n  .*\n +.*---\^\n/\n/g;
    return $output;
}

sub program {
    my @command = (@preload, @_);
    my $file = "$folder/output" . $number++;
    my $child = fork // die $!;
    if (!$child) {
        open STDOUT, '>', $file or die $!;
        open STDERR, '>&', \*STDOUT or die $!;
        exec @command or die $!;
    }
    waitpid $child, 0;
    open my $handle, '<', $file or die $!;
    local $/;
    return scalar(<$handle>) // '';
}

sub write_file {
    my ($file, $text) = @_;
    open my $handle, '>', $file or die $!;
    print $handle $text;
    close $handle or die $!;
}
