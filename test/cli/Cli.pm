# What the tests of the command share: a database on each backend, and running `cloaca` against it.
#
# on_backends(sub { ... }) runs its tests on an SQLite file and, when PGHOST says that a server is there, on a database of that server.
package Cli;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Handle;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(on_backends cloaca rows row succeeds fails_with start finish wait_until gate task_state sql spew slurp $folder $backend
    $stdout $stderr);
# The command that was built here.
$ENV{PATH} = abs_path(dirname(__FILE__) . '/../../build') . ":$ENV{PATH}";
our ($folder, $backend, $stdout, $stderr) = tempdir('cloaca-cli-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $json = JSON::PP->new->utf8->allow_nonref;
binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);
my $count = 0;
# Seconds: only a test that fails waits so long.
my $patience = 120;

sub on_backends {
    my ($tests) = @_;
    for (qw(sqlite postgres)) {
        $backend = $_;
        next if $backend eq 'postgres' && !$ENV{PGHOST};
        local $ENV{DATABASE_URL} = database();
        subtest $backend => sub {
            succeeds('init');
            $tests->();
            done_testing;
        };
    }
}

# From template0, which nobody is ever connected to. A file that is locked is waited for as long as for anything.
sub database {
    my $name = sprintf 'cli_%d_%d', $$, ++$count;
    return "sqlite:///$folder/$name.db?_busy_timeout=${patience}000" if $backend eq 'sqlite';
    my $said = qx{psql -qX -v ON_ERROR_STOP=1 -c 'create database $name template template0' -c '\\connect $name' -c 'create extension cloaca' 2>&1};
    $? == 0 or die "cannot create the database $name: $said";
    return "postgresql:///$name?host=$ENV{PGHOST}&port=$ENV{PGPORT}&user=$ENV{PGUSER}";
}

# Runs SQL on the database itself, where TASKS stands for the table of live tasks and PAST for a time that is over.
sub sql {
    my ($statement) = @_;
    my ($name) = $ENV{DATABASE_URL} =~ m{:///([^?]+)};
    my ($table, $past, @command) = $backend eq 'sqlite' ? ('cloaca_task', 0, 'sqlite3', '-cmd', ".timeout ${patience}000", $name)
        : ('cloaca_default.cloaca_task', "timestamptz '2000-01-01'", 'psql', '-qXAt', '-d', $name, '-c');
    $statement =~ s/TASKS/$table/g;
    $statement =~ s/PAST/$past/g;
    system(@command, $statement) == 0 or die "failed: $statement";
}

# Runs cloaca, a first reference being its stdin, and returns the exit status (a signal: 128 and more). $stdout and $stderr keep what
# it wrote.
sub cloaca {
    my $input = ref $_[0] ? ${ shift() } : '';
    spew("$folder/stdin", $input);
    my $child = spawn("$folder/stdin", "$folder/stdout", "$folder/stderr", 'cloaca', @_);
    local $SIG{ALRM} = sub { diag("cloaca @_: it does not end"); kill 'KILL', $child };
    alarm 5 * $patience;
    waitpid $child, 0;
    alarm 0;
    ($stdout, $stderr) = (slurp("$folder/stdout"), slurp("$folder/stderr"));
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

# Runs cloaca, which must succeed, and decodes its answer.
sub rows {
    my $status = cloaca(@_);
    return eval { $json->decode($stdout) } // diag(substr("cloaca @_: status $status: $stderr$stdout", 0, 1000));
}
*row = \&rows;

sub succeeds {
    my @words = grep { !ref } @_;
    is(cloaca(@_), 0, "cloaca @words") or diag($stderr);
}

sub fails_with {
    my ($status, $pattern, @words) = @_;
    my $name = 'cloaca ' . join ' ', grep { !ref } @words;
    is(cloaca(@words), $status, "$name: exit status $status");
    like($stderr, $pattern, "$name: says why");
}

# Starts cloaca in the background, its stdout and stderr going to files; finish waits for it and returns its exit status.
sub start {
    my $number = ++$count;
    my $pid = spawn('/dev/null', "$folder/out-$number", "$folder/err-$number", 'cloaca', @_);
    return { pid => $pid, out => "$folder/out-$number", err => "$folder/err-$number" };
}

sub finish {
    my ($process, $seconds) = @_;
    my $limit = time + ($seconds // $patience);
    while (waitpid($process->{pid}, POSIX::WNOHANG()) == 0) {
        if (time > $limit) {
            kill 'KILL', $process->{pid};
            waitpid $process->{pid}, 0;
            diag('it did not end: ' . slurp($process->{err}));
            return -1;
        }
        sleep 0.02;
    }
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub spawn {
    my ($in, $out, $err, @command) = @_;
    my $pid = fork // die "cannot fork: $!";
    return $pid if $pid;
    open STDIN, '<', $in or POSIX::_exit(126);
    open STDOUT, '>', $out or POSIX::_exit(126);
    open STDERR, '>', $err or POSIX::_exit(126);
    exec { $command[0] } @command or POSIX::_exit(127);
}

sub wait_until {
    my ($what, $condition, $seconds) = @_;
    my $limit = time + ($seconds // $patience);
    until ($condition->()) {
        return fail("waited in vain: $what") if time > $limit;
        sleep 0.05;
    }
    return pass($what);
}

# What a shell runs to wait until the test lets it go on, and the sub that does.
sub gate {
    my $file = "$folder/gate-" . ++$count;
    return ("until [ -e $file ]; do sleep 0.05; done", sub { spew($file, '') });
}

sub task_state {
    return rows('task', $_[0])->{state};
}

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

1;
