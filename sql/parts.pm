# Reads the parts of the SQL for those who put them together, describe or check them: the manifest, the conditions, and of each
# function's file the signature in the first line and the header. Needs perl-base alone.
package parts;
use strict;
use warnings;

# The folder.
our $sql = __FILE__ =~ m{\A(.*)/} ? $1 : '.';

# The functions of the manifest, in its order: noun, name, access, dialects.
sub manifest {
    my @functions;
    for (split /\n/, read_file("$sql/manifest")) {
        next if /^\s*(#|$)/;
        m{^(\w+)/(\w+)\s+(public|admin|owner)\s+(both|postgres|helper)\s*$} or die "sql/manifest: cannot read: $_\n";
        push @functions, { noun => $1, name => $2, access => $3, dialects => $4 };
    }
    return @functions;
}

# The conditions, in the order of their file: name, sqlstate, kind, message.
sub conditions {
    my @conditions;
    for (split /\n/, read_file("$sql/conditions")) {
        next if /^\s*(#|$)/;
        /^(\w+)\s+([0-9A-Z]{5})\s+(error|retry|lost)\s+([^'"\\]+?)\s*$/ or die "sql/conditions: cannot read: $_\n";
        push @conditions, { name => $1, sqlstate => $2, kind => $3, message => $4 };
    }
    return @conditions;
}

# The signature in a file's first line: name, arguments (name, type, default or undef), result ("void", "procedure", or columns). A
# PostgreSQL file says besides whether it creates a procedure; the columns of one are its inout arguments.
sub signature {
    my ($text) = @_;
    my ($name, $arguments, $result) = $text =~ /\A-- \@function (\w+)\((.*)\) -> (\S.*?)\s*$/m or return;
    return {
        name      => $name,
        text      => "$name($arguments) -> $result",
        procedure => scalar $text =~ /^create procedure /m,
        arguments => [map { argument($_) } split_list($arguments)],
        result    => $result =~ /^(void|procedure)$/ ? $result : [map { argument($_) } split_list($result)],
    };
}

# The header below the signature: description, arguments (name => text, in order), and the paragraphs Returns, Errors and Writes.
sub header {
    my ($text) = @_;
    my ($block) = $text =~ /\A-- \@function .*\n((?:--.*\n)*)/ or return;
    my %header = (description => '', arguments => [], Returns => '', Errors => '', Writes => '');
    my $into = \$header{description};
    for my $line ($block =~ /^--(.*)$/mg) {
        if ($line =~ /^ (Returns|Errors|Writes): (.*)/) {
            $header{$1} = $2;
            $into = \$header{$1};
        } elsif ($line =~ /^ (\w+): (.*)/) {
            push @{ $header{arguments} }, my $entry = { name => $1, text => $2 };
            $into = \$entry->{text};
        } elsif ($line =~ /^\s*$/) {
            $$into .= "\n" if length $$into;
        } else {
            $$into .= (length $$into && $$into !~ /\n\z/ ? ' ' : '') . $line =~ s/^\s+|\s+$//gr;
        }
    }
    s/\s+\z// for @header{qw(description Returns Errors Writes)}, map { $_->{text} } @{ $header{arguments} };
    return \%header;
}

# Parts a list at its commas, but not at those inside quotes, parentheses or brackets.
sub split_list {
    my ($text) = @_;
    my @items;
    push @items, $1 while $text =~ /\G\s*((?:[^,()']++|'[^']*'|(\((?:[^()']++|'[^']*'|(?2))*\)))+),?/g;
    return grep { length } map { s/\s+/ /gr =~ s/^ | $//gr } @items;
}

# name, type and default of `name type = default` or `name type default default`.
sub argument {
    my ($text) = @_;
    my ($name, $type, $default) = $text =~ /^(\w+) (.+?)(?: (?:=|default) (.+))?$/ or die "cannot read the argument: $text\n";
    return { name => $name, type => $type, default => $default };
}

sub read_file {
    my ($file) = @_;
    open my $handle, '<:encoding(UTF-8)', $file or die "$file: $!\n";
    local $/;
    return <$handle> // '';
}

sub write_file {
    my ($file, $text) = @_;
    open my $handle, '>:encoding(UTF-8)', "$file.$$" or die "$file.$$: $!\n";
    print $handle $text or die "$file.$$: $!\n";
    close $handle or die "$file.$$: $!\n";
    rename "$file.$$", $file or die "$file: $!\n";
}

1;
