#!/usr/bin/perl
# Turns the functions into C for the client library: reads sql/manifest, sql/conditions and the dialect files, and writes
#
#   DIRECTORY/functions.c       every public function with its arguments, results and SQLite statements, and the SQLite tables
#   DIRECTORY/function_ids.h    enumerators for them: CLO_ENQUEUE, CLO_ENQUEUE_ARG_NAME, CLO_ENQUEUE_COL_TASK, in the same order
#
#   embed.pl [--allow-empty] DIRECTORY
#
# It fails when the dialects of a function disagree, when a statement uses a parameter that is no argument, or raises an unknown
# condition. --allow-empty, for developers, lets a SQLite file without statements pass. Needs perl-base alone.
use strict;
use warnings;

my %types = (
    boolean => 'BOOLEAN', smallint => 'SMALLINT', integer => 'INTEGER', bigint => 'BIGINT', text => 'TEXT', jsonb => 'JSONB',
    timestamptz => 'TIMESTAMPTZ', interval => 'INTERVAL', 'bigint[]' => 'BIGINT_ARRAY', 'text[]' => 'TEXT_ARRAY',
    'jsonb[]' => 'JSONB_ARRAY',
);
# What the library binds besides the arguments.
my %bound = map { $_ => 1 } qw(now random lease_base);

my ($sql) = $0 =~ m{\A(.*)/};
$sql //= '.';
my $allow_empty = @ARGV && $ARGV[0] eq '--allow-empty' && shift @ARGV;
die "usage: embed.pl [--allow-empty] DIRECTORY\n" unless @ARGV == 1;
my $directory = $ARGV[0];

my %conditions = map { (split)[0] => 1 } grep { /^\w/ } lines("$sql/conditions");
my @functions = map { function(split) } grep { /^\w/ && !/\bhelper\s*$/ } lines("$sql/manifest");
my %nouns = map { m{^(\w+)/} ? ($1 => 1) : () } lines("$sql/manifest");
check_strays();
write_file("$directory/function_ids.h", ids());
write_file("$directory/functions.c", source());

# ------------------------------------------------------------------------------------------------------------------ reading

sub function {
    my ($path, $access, $dialects) = @_;
    my ($noun, $name) = split m{/}, $path;
    my @header = header("$sql/$path.postgres.sql");
    my $signature = signature("$sql/$path.postgres.sql", shift @header);
    my ($writes) = map { /^-- Writes:\s*(.*?)\s*$/ } @header;
    die "$path: unknown dialects \"$dialects\"\n" unless $dialects =~ /^(?:both|postgres)$/;

    my %function = (%{ parse_signature($path, $signature) }, signature => $signature, both => $dialects eq 'both', statements => []);
    die "$path: the signature names $function{name}\n" unless $function{name} eq $name;
    $function{writes} = !(defined $writes && $writes =~ /^nothing\b/);
    $function{credentials} = 2 == grep { $_->{name} =~ /^(?:password|connection_string)$/ } @{ $function{results} };

    die "$path: more arguments or results than functions.h has room for\n"
        if @{ $function{arguments} } > 16 || @{ $function{results} } > 32;

    my $file = "$sql/$path.sqlite.sql";
    if ($function{both}) {
        my $other = signature($file, (header($file))[0]);
        die "$path: the dialects' signatures differ:\n  $signature\n  $other\n" if $other ne $signature;
        $function{statements} = [statements($file, \%function)];
    } elsif (-e $file) {
        die "$file: the manifest says that $name is for PostgreSQL alone\n";
    }
    return \%function;
}

# The comment block that a file starts with.
sub header {
    my ($file) = @_;
    my @header;
    for (lines($file)) {
        last unless /^--/;
        push @header, $_;
    }
    die "$file: starts without a comment block\n" unless @header;
    return @header;
}

sub signature {
    my ($file, $line) = @_;
    return $line =~ /^-- \@function (\w+\(.*\) -> .+?)\s*$/ ? $1 : die "$file: the first line is no \@function line\n";
}

sub parse_signature {
    my ($path, $signature) = @_;
    my ($name, $arguments, $results) = $signature =~ /^(\w+)\((.*)\) -> (.*)$/;
    my %function = (name => $name, arguments => [], results => []);

    for (split_list($arguments)) {
        /^(\w+) (\w+(?:\[\])?)(?: = (.+))?$/ or die "$path: cannot read the argument \"$_\"\n";
        my ($argument, $type, $default) = ($1, $2, $3);
        die "$path: unknown type $type\n" unless $types{$type};
        push @{ $function{arguments} },
            { name => $argument, type => $type, required => !defined $default, value => value($path, $type, $default // 'null') };
    }
    if ($results eq 'procedure') {
        $function{procedure} = 1;
    } elsif ($results ne 'void') {
        for (split_list($results)) {
            /^(\w+) (\w+(?:\[\])?)$/ && $types{$2} or die "$path: cannot read the result \"$_\"\n";
            push @{ $function{results} }, { name => $1, type => $2 };
        }
    }
    return \%function;
}

# At commas outside of quotes.
sub split_list {
    my ($list) = @_;
    return $list =~ /\G\s*((?:'(?:[^']|'')*'|[^',])+?)\s*(?:,|$)/g;
}

# A default as the initialiser of a clo_value.
sub value {
    my ($path, $type, $default) = @_;
    return '{CLO_NULL, 0, NULL, 0}' if $default eq 'null';
    return '{CLO_INTEGER, ' . ($default eq 'true' ? 1 : 0) . ', NULL, 0}' if $type eq 'boolean' && $default =~ /^(?:true|false)$/;
    return "{CLO_INTEGER, $default, NULL, 0}" if $type =~ /^(?:smallint|integer|bigint)$/ && $default =~ /^-?\d+$/;
    return "{CLO_INTEGER, ${1}000000, NULL, 0}" if $type eq 'interval' && $default =~ /^'([1-9]\d*)'$/;
    return '{CLO_INTEGER, 0, NULL, 0}' if $type eq 'interval' && $default eq "'0'";
    if ($type =~ /^(?:text|jsonb)$/ && $default =~ /^'((?:[^']|'')*)'$/) {
        (my $text = $1) =~ s/''/'/g;
        return sprintf '{CLO_TEXT, 0, %s, %d}', c_string($text), length $text;
    }
    die "$path: a default $default of type $type is not known here\n";
}

# ------------------------------------------------------------------------------------------------- the SQL of a SQLite file

# The statements of a function, each with the condition that it raises, if any.
sub statements {
    my ($file, $function) = @_;
    my @statements = split_sql($file, read_file($file));
    my %known = (%bound, map { $_->{name} => 1 } @{ $function->{arguments} });

    if (!@statements) {
        die "$file: has no statements\n" unless $allow_empty;
        warn "$file: has no statements yet\n";
        return;
    }
    for my $statement (@statements) {
        for (@{ $statement->{parameters} }) {
            die "$file: :$_ is no argument of $function->{name}\n" unless $known{$_};
        }
        my $raise = $statement->{raise} // next;
        die "$file: unknown condition $raise\n" unless $conditions{$raise};
        die "$file: a statement that raises $raise must be a select\n" unless $statement->{text} =~ /^(?:select|with|values)\b/i;
    }
    die "$file: the last statement raises a condition\n" if defined $statements[-1]{raise};
    die "$file: the last statement must be a select that returns the rows\n"
        if @{ $function->{results} } && $statements[-1]{text} !~ /^(?:select|with|values)\b/i;
    return @statements;
}

# Splits at semicolons outside of quotes and comments; drops comments, folds white space, notes the parameters.
sub split_sql {
    my ($file, $text) = @_;
    my @statements;
    my %current = (text => '', parameters => []);

    while ($text =~ /\G(?:
            (?<marker>   ^--[ ]\@raise[ ]+(?<raise>\w+)[ ]*$ )
          | (?<comment>  --[^\n]* | \/\*.*?\*\/ )
          | (?<quoted>   '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` )
          | (?<parameter>:(?<name>\w+) )
          | (?<end>      ; )
          | (?<space>    \s+ )
          | (?<other>    [^\s;:'"`\/-]+ | . )
        )/gmsx) {
        if (defined $+{marker}) {
            die "$file: the marker \@raise $+{raise} stands inside a statement\n" if $current{text} ne '';
            $current{raise} = $+{raise};
        } elsif (defined $+{comment} || defined $+{space}) {
            $current{text} .= ' ' if $current{text} =~ /\S$/;
        } elsif (defined $+{end}) {
            $current{text} =~ s/ $//;
            push @statements, {%current} if $current{text} ne '';
            %current = (text => '', parameters => []);
        } else {
            push @{ $current{parameters} }, $+{name} if defined $+{parameter};
            $current{text} .= $&;
        }
    }
    die "$file: does not end with a semicolon\n" if $current{text} =~ /\S/;
    die "$file: a marker \@raise without a statement\n" if defined $current{raise};
    return @statements;
}

# A SQLite file that no line of the manifest names would be left out in silence.
sub check_strays {
    my %known = map { ("$_->{name}" => 1) } @functions;
    for my $noun (sort keys %nouns) {
        for my $file (glob "$sql/$noun/*.sqlite.sql") {
            my ($name) = $file =~ m{/(\w+)\.sqlite\.sql$};
            die "$file: is not in the manifest\n" unless $name eq 'tables' || $known{$name};
        }
    }
}

# -------------------------------------------------------------------------------------------------------------------- writing

sub ids {
    return "/* An enumerator for each function, argument and result column, in their order. Generated by sql/embed.pl. */\n"
        . "#ifndef CLOACA_FUNCTION_IDS_H\n#define CLOACA_FUNCTION_IDS_H\n\n"
        . enumeration('', [@functions, { name => 'function_count' }])
        . join('', map { enumeration("$_->{name}_arg_", $_->{arguments}) . enumeration("$_->{name}_col_", $_->{results}) } @functions)
        . "\n#endif\n";
}

sub enumeration {
    my ($prefix, $items) = @_;
    return @$items ? 'enum { ' . join(', ', map { uc "clo_$prefix$_->{name}" } @$items) . " };\n" : '';
}

sub source {
    my $text = "/* The functions of cloaca and their SQLite statements. Generated by sql/embed.pl. */\n#include \"functions.h\"\n\n";

    for my $function (@functions) {
        $text .= array("clo_parameter", "$function->{name}_parameters", map {
            sprintf '{"%s", CLOACA_TYPE_%s, %s, %s}', $_->{name}, $types{ $_->{type} }, bool($_->{required}), $_->{value}
        } @{ $function->{arguments} });
        $text .= array("clo_column", "$function->{name}_columns",
            map { sprintf '{"%s", CLOACA_TYPE_%s}', $_->{name}, $types{ $_->{type} } } @{ $function->{results} });
        $text .= array("clo_statement", "$function->{name}_statements", map {
            sprintf '{%s, %s}', c_string($_->{text}), defined $_->{raise} ? 'CLOACA_' . uc $_->{raise} : 'CLOACA_OK'
        } @{ $function->{statements} });
    }
    $text .= "const clo_function clo_functions[CLO_FUNCTION_COUNT] = {\n" . join('', map { entry($_) } @functions) . "};\n\n";

    my @tables = map { $_->{text} } map { -e "$sql/$_/tables.sqlite.sql" ? split_sql("$_/tables", read_file("$sql/$_/tables.sqlite.sql")) : () }
        sort keys %nouns;
    $text .= "const char *const clo_sqlite_tables[] = {\n" . join('', map { '    ' . c_string($_) . ",\n" } @tables) . "    NULL,\n};\n";
    return $text;
}

sub entry {
    my ($function) = @_;
    my $name = $function->{name};
    return "    {\n"
        . "        .id = CLO_" . uc($name) . ",\n"
        . "        .name = \"$name\",\n"
        . '        .signature = ' . c_string($function->{signature}) . ",\n"
        . "        .procedure = " . bool($function->{procedure}) . ",\n"
        . "        .postgres_only = " . bool(!$function->{both}) . ",\n"
        . "        .writes = " . bool($function->{writes}) . ",\n"
        . "        .credentials = " . bool($function->{credentials}) . ",\n"
        . list('parameter', $name, $function->{arguments})
        . list('column', $name, $function->{results})
        . list('statement', $name, $function->{statements})
        . "    },\n";
}

sub list {
    my ($what, $name, $items) = @_;
    return @$items ? "        .${what}_count = " . @$items . ",\n        .${what}s = ${name}_${what}s,\n" : '';
}

sub array {
    my ($type, $name, @items) = @_;
    return @items ? "static const $type ${name}[] = {\n" . join('', map { "    $_,\n" } @items) . "};\n\n" : '';
}

sub bool { return $_[0] ? 'true' : 'false' }

sub c_string {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/\?\?/?\\?/g;
    $text =~ s/([^\x20-\x7e])/sprintf '\\%03o', ord $1/ge;
    return "\"$text\"";
}

sub lines { return split /\n/, read_file($_[0]) }

sub read_file {
    my ($file) = @_;
    open my $handle, '<', $file or die "$file: $!\n";
    local $/;
    return scalar(<$handle>) // '';
}

# Under another name first, and only when something changed: an interrupted run leaves nothing half done, a repeated one no work.
sub write_file {
    my ($file, $text) = @_;
    return if -e $file && read_file($file) eq $text;
    open my $handle, '>', "$file.new" or die "$file.new: $!\n";
    print $handle $text or die "$file.new: $!\n";
    close $handle or die "$file.new: $!\n";
    rename "$file.new", $file or die "$file: $!\n";
}
