# Programs that talk to the server of the bench, whose address is in the environment.
package Bench::Server;
use strict;
use warnings;
use Exporter qw(import);
our @EXPORT = qw(psql value capture run statements has_setting has_function server_cpu wal_position write_file read_file);

# Every argument after the database is one of psql's.
sub psql {
    my ($database, @arguments) = @_;
    return capture('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $database, @arguments);
}

# Each of the statements, in a session.
sub statements {
    my ($database, @statements) = @_;
    return psql($database, map { ('-c', $_) } @statements);
}

# The one value that the last of these statements returns.
sub value {
    my ($database, @statements) = @_;
    my $value = psql($database, '-A', '-t', map { ('-c', $_) } @statements);
    chomp $value;
    return $value;
}

# Whether the library has this setting; a placeholder that somebody set does not count.
sub has_setting {
    my ($database, $name) = @_;
    return value($database, "load 'cloaca'; select count(*) from pg_settings where name = '$name'");
}

sub has_function {
    my ($database, $name) = @_;
    return value($database, "select count(*) from pg_proc where pronamespace = 'cloaca'::regnamespace and proname = '$name'");
}

sub wal_position {
    return value('postgres', "select pg_current_wal_insert_lsn() - '0/0'");
}

# Microseconds that the server's own processes (those that serve no connection) ran.
sub server_cpu {
    my @pids = split /\n/, value('postgres', "select pid from pg_stat_activity where backend_type <> 'client backend'
        and backend_type not like 'autovacuum w%' and backend_type not like 'parallel%'");
    my $sum = 0;
    for my $pid (@pids) {
        my ($nanoseconds) = split ' ', -e "/proc/$pid/schedstat" ? read_file("/proc/$pid/schedstat") : '';
        $sum += ($nanoseconds // 0) / 1000;
    }
    return $sum;
}

# What a program prints; its failure ends us, with all that it said.
sub capture {
    my $pid = open my $output, '-|';
    defined $pid or die "cannot fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec { $_[0] } @_ or die "$_[0]: $!\n";
    }
    my $text = do { local $/; <$output> } // '';
    close $output or die "@_ failed:\n$text";
    return $text;
}

sub run {
    system({ $_[0] } @_) == 0 or die "@_ failed\n";
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<', $file or die "$file: $!\n";
    local $/;
    return <$handle> // '';
}

sub write_file {
    my ($file, $text) = @_;
    open my $handle, '>', $file or die "$file: $!\n";
    print $handle $text;
    close $handle or die "$file: $!\n";
}

1;
