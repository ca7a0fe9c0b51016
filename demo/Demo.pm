# What both acts of the demo need: running programs, above all `cloaca`, comparing with coreutils, and leaving nothing behind.
package Demo;
use strict;
use warnings;
use Exporter qw(import);
use POSIX qw(WNOHANG);
our @EXPORT = qw(rows row decode run capture start_worker start reap %running shown escape unescape choose coreutils clear_line fail);

our %running;    # the processes that are alive, each the first of its group: process => name

# -------------------------------------------------------------------------------------------------------------------- files

# As the handlers read it: unusual bytes, which are rare, as octal escapes.
sub escape {
    my ($path) = @_;
    return $path =~ s/([^A-Za-z0-9\/._+,=\@:~-])/sprintf '\\0%03o', ord $1/gre;
}

sub unescape {
    my ($text) = @_;
    return $text =~ s/\\0([0-7]{3})/chr oct $1/gre;
}

# So many of the files, from all over the list. Whoever calls this with the same files gets the same ones.
sub choose {
    my ($count, @files) = @_;
    @files = sort @files;
    return @files if $count > @files;
    return map { $files[$_ * @files / $count] } 0 .. $count - 1;
}

# Checksum, words and bytes of each of the files: coreutils, run over all of them at once. The folder is for a list of them.
sub coreutils {
    my ($folder, @files) = @_;
    my $list = "$folder/files";
    open my $out, '>', $list or fail("cannot write $list: $!");
    print $out map {"$_\0"} @files;
    close $out or fail("cannot write $list: $!");
    my @sums = split /\0/, capture('sh', '-c', 'exec xargs -0 sha256sum -z -- <"$0"', $list);
    my @counts = split /\n/, capture('wc', '-wc', "--files0-from=$list");
    pop @counts if @files > 1;    # the total
    @sums == @files && @counts == @files or fail('coreutils counted ' . @sums . ' and ' . @counts . ' of ' . @files . ' files');
    my %expected;
    for my $i (0 .. $#files) {
        my ($sha256) = $sums[$i] =~ /^([0-9a-f]{64})  /;
        my ($words, $bytes) = $counts[$i] =~ /^\s*(\d+)\s+(\d+)/;
        $expected{$files[$i]} = { sha256 => $sha256, words => $words, bytes => $bytes };
    }
    return %expected;
}

# A name that is safe to print, cut on the left.
sub shown {
    my ($path) = @_;
    $path =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    return length $path > 50 ? '...' . substr $path, -47 : $path;
}

# ---------------------------------------------------------------------------------------------------------------- processes

# What it says at the end goes to the file.
sub start_worker {
    my ($name, $file, @arguments) = @_;
    start($name, $file, 'work', '--worker', $name, @arguments);
}

# `cloaca` in a process group of its own, with its output in a file, if one is given.
sub start {
    my ($name, $file, @arguments) = @_;
    my $pid = fork // fail("cannot fork: $!");
    if (!$pid) {
        setpgrp;
        !defined $file or open STDOUT, '>', $file or POSIX::_exit(1);
        exec('cloaca', @arguments) or POSIX::_exit(127);
    }
    $running{$pid} = $name;
}

# Those that have ended. A watch says by its status how that ended which it watched.
sub reap {
    for my $pid (keys %running) {
        waitpid($pid, WNOHANG) == $pid or next;
        my $name = delete $running{$pid};
        $? == 0 or $name eq 'watch' or fail("$name ended with wait status $?");
    }
}

# ----------------------------------------------------------------------------------------------------------------- programs

# What a subcommand of cloaca prints: several rows, or one.
sub rows {
    return @{ row(@_) };
}

sub row {
    return decode(capture('cloaca', @_, '--json'));
}

sub decode {
    my ($text) = @_;
    return JSON::PP->new->utf8->decode($text);
}

sub run {
    my @command = @_;
    system { $command[0] } @command;
    $? == 0 or fail("@command failed");
}

sub capture {
    my @command = @_;
    open my $pipe, '-|', @command or fail("cannot run $command[0]: $!");
    local $/;
    my $text = <$pipe>;
    close $pipe or fail("@command failed");
    return $text;
}

# ------------------------------------------------------------------------------------------------------------------- output

sub clear_line {
    print "\r\e[K" if -t STDOUT;
}

sub fail {
    clear_line();
    print STDERR 'demo: FAILED: ', @_, "\n";
    exit 1;
}

1;
