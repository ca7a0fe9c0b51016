#!/usr/bin/perl
# Turns the functions into C for the client library: reads sql/manifest, sql/conditions and the dialect files, and writes
#
#   DIRECTORY/functions.c       every public function with its arguments, results and SQLite statements, and the SQLite tables
#   DIRECTORY/function_ids.h    enumerators for them: CLO_ENQUEUE, CLO_ENQUEUE_ARG_NAME, CLO_ENQUEUE_COL_TASK, in the same order
#
#   embed.pl DIRECTORY
#
# A statement of a SQLite file may stand under a marker, a line of its own:
#
#   -- @raise CONDITION    raises it when the select returns a row
#   -- @watch              is looked at again and again (the last one alone)
#   -- @if, -- @while      the statements down to `-- @end` run when, or as long as, the select returns a row
#   -- @include NOUN/NAME  stands for the statements of sql/NOUN/NAME.sqlite.sql, whose first line is `-- @part NAME`
#
# It fails when the dialects of a function disagree, when a statement uses a parameter that is no argument, or raises an unknown
# condition. Needs perl-base alone.
use strict;
use warnings;

BEGIN { unshift @INC, $0 =~ m{\A(.*)/} ? $1 : '.' }
use parts;

my %types = (
    boolean => 'BOOLEAN', smallint => 'SMALLINT', integer => 'INTEGER', bigint => 'BIGINT', text => 'TEXT', jsonb => 'JSONB',
    timestamptz => 'TIMESTAMPTZ', interval => 'INTERVAL', 'bigint[]' => 'BIGINT_ARRAY', 'text[]' => 'TEXT_ARRAY',
    'jsonb[]' => 'JSONB_ARRAY',
);
# What the library binds besides the arguments.
my %bound = map { $_ => 1 } qw(now random lease_base);

my $sql = $parts::sql;
die "usage: embed.pl DIRECTORY\n" unless @ARGV == 1;
my $directory = $ARGV[0];

my %conditions = map { $_->{name} => 1 } parts::conditions();
my %included;
my @manifest = parts::manifest();
my @functions = map { function($_) } grep { $_->{dialects} ne 'helper' } @manifest;
my %nouns = map { $_->{noun} => 1 } @manifest;
check_strays();
write_changed("$directory/function_ids.h", ids());
write_changed("$directory/functions.c", source());

# ------------------------------------------------------------------------------------------------------------------ reading

sub function {
    my ($known) = @_;
    my $path = "$sql/$known->{noun}/$known->{name}";
    my $text = parts::read_file("$path.postgres.sql");
    my $signature = parts::signature($text) or die "$path.postgres.sql: the first line is no \@function line\n";
    my %function = (
        name => $known->{name}, signature => $signature->{text}, procedure => $signature->{procedure},
        both => $known->{dialects} eq 'both', statements => [],
        arguments => [map { parameter($path, $_) } @{ $signature->{arguments} }],
        results => ref $signature->{result} ? $signature->{result} : [],
    );
    die "$path: the signature names $signature->{name}\n" unless $signature->{name} eq $known->{name};
    die "$path: the signature and the statement that creates it disagree on whether it is a procedure\n"
        if !ref $signature->{result} && $function{procedure} != ($signature->{result} eq 'procedure');
    for my $result (@{ $function{results} }) {
        die "$path: unknown type $result->{type}\n" unless $types{ $result->{type} };
        die "$path: the library cannot read a $result->{type} that a procedure returns\n"
            if $function{procedure} && $result->{type} =~ /^(?:timestamptz|interval|.*\[\])$/;
    }
    $function{writes} = parts::header($text)->{Writes} !~ /^nothing\b/;
    $function{credentials} = 2 == grep { $_->{name} =~ /^(?:password|connection_string)$/ } @{ $function{results} };

    die "$path: more arguments or results than functions.h has room for\n"
        if @{ $function{arguments} } > 16 || @{ $function{results} } > 32;

    if ($function{both}) {
        sqlite_form(\%function, "$path.sqlite.sql");
    } elsif (-e "$path.sqlite.sql") {
        die "$path.sqlite.sql: the manifest says that $known->{name} is for PostgreSQL alone\n";
    }
    return \%function;
}

sub sqlite_form {
    my ($function, $file) = @_;
    my $text = parts::read_file($file);
    my $signature = parts::signature($text) or die "$file: the first line is no \@function line\n";
    die "$file: the dialects' signatures differ:\n  $function->{signature}\n  $signature->{text}\n"
        if $signature->{text} ne $function->{signature};
    $function->{statements} = [statements($file, $function, with_parts($file, $text))];
    $function->{waits} = $function->{statements}[-1]{watch};
}

sub parameter {
    my ($path, $argument) = @_;
    my ($name, $type, $default) = @$argument{qw(name type default)};
    die "$path: unknown type $type\n" unless $types{$type};
    return { name => $name, type => $type, required => !defined $default, value => value($path, $type, $default // 'null') };
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
        utf8::encode(my $bytes = $text);
        return sprintf '{CLO_TEXT, 0, %s, %d}', c_string($text), length $bytes;
    }
    if ($type eq 'text[]' && $default =~ /^'\{(\w+(?:,\w+)*)\}'$/) {
        my $text = '[' . join(', ', map { "\"$_\"" } split /,/, $1) . ']';
        return sprintf '{CLO_TEXT, 0, %s, %d}', c_string($text), length $text;
    }
    die "$path: a default $default of type $type is not known here\n";
}

# ------------------------------------------------------------------------------------------------- the SQL of a SQLite file

# The text with the files that it includes in their place.
sub with_parts {
    my ($file, $text) = @_;
    return $text =~ s{^-- \@include[ ]+(\w+)/(\w+)[ ]*$}{ part($file, $1, $2) }gemr;
}

sub part {
    my ($file, $noun, $name) = @_;
    my $path = "$sql/$noun/$name.sqlite.sql";
    die "$file: includes $noun/$name, which is not there\n" unless -e $path;
    my $text = parts::read_file($path);
    die "$path: the first line is not -- \@part $name\n" unless $text =~ /\A-- \@part \Q$name\E\n/;
    $included{$path} = 1;
    return with_parts($path, $text);
}

# The statements of a function, each with the condition that it raises, if any, and which comes after it; the last perhaps to be
# watched.
sub statements {
    my ($file, $function, $text) = @_;
    my @statements = in_order(blocks($file, split_sql($file, $text)), 0);
    my %known = (%bound, map { $_->{name} => 1 } @{ $function->{arguments} });

    die "$file: has no statements\n" unless @statements;
    for my $statement (@statements) {
        for (@{ $statement->{parameters} }) {
            die "$file: :$_ is no argument of $function->{name}\n" unless $known{$_};
        }
        die "$file: a condition must be a select\n" if $statement->{test} && $statement->{text} !~ /^(?:select|with|values)\b/i;
        my $raise = $statement->{raise} // next;
        die "$file: unknown condition $raise\n" unless $conditions{$raise};
        die "$file: a statement that raises $raise must be a select\n" unless $statement->{text} =~ /^(?:select|with|values)\b/i;
    }
    die "$file: the last statement raises a condition\n" if defined $statements[-1]{raise};
    die "$file: only the last statement can be watched\n" if grep { $_->{watch} } @statements[0 .. $#statements - 1];
    die "$file: what is watched must return one boolean or text, from a procedure\n"
        if $statements[-1]{watch} && !($function->{procedure} && "@{[map { $_->{type} } @{ $function->{results} }]}" =~ /^(?:boolean|text)$/);
    die "$file: the last statement must be a select that returns the rows\n"
        if @{ $function->{results} } && ($statements[-1]{inner} || $statements[-1]{text} !~ /^(?:select|with|values)\b/i);
    return @statements;
}

# The statements in blocks: those between a condition and its end are its body.
sub blocks {
    my ($file, @marked) = @_;
    my @open = ([]);
    my @tests;
    for my $statement (@marked) {
        if ($statement->{end}) {
            my $test = pop @tests or die "$file: an end without a beginning\n";
            $test->{body} = pop @open;
            die "$file: a block without statements\n" unless @{ $test->{body} };
            next;
        }
        push @{ $open[-1] }, $statement;
        next unless $statement->{test};
        push @tests, $statement;
        push @open, [];
    }
    die "$file: a block without an end\n" if @tests;
    return $open[0];
}

# The statements of a block in a row, the first of them with this number. Each gets the number of the next one, and a condition that of
# the one to go on with when its body does not run; after the last of the block comes `$after`.
sub in_order {
    my ($block, $first, $after) = @_;
    my @statements;
    for my $statement (@$block) {
        my $number = $first + @statements;
        my $follow = $statement == $block->[-1] && defined $after ? $after : $number + size($statement);
        my $body = $statement->{body};
        my @inner = $body ? in_order($body, $number + 1, $statement->{test} eq 'while' ? $number : $follow) : ();
        @$statement{qw(next skip)} = ($body ? $number + 1 : $follow, $follow);
        $_->{inner} = 1 for @inner;
        push @statements, $statement, @inner;
    }
    return @statements;
}

sub size {
    my ($statement) = @_;
    my $size = 1;
    $size += size($_) for @{ $statement->{body} // [] };
    return $size;
}

# Splits at semicolons outside of quotes and comments; drops comments, folds white space, notes the parameters.
sub split_sql {
    my ($file, $text) = @_;
    my @statements;
    my %current = (text => '', parameters => []);

    while ($text =~ /\G(?:
            (?<marker>   ^--[ ]\@(?:raise[ ]+(?<raise>\w+)|(?<watch>watch)|(?<test>if|while)|(?<close>end))[ ]*$ )
          | (?<comment>  --[^\n]* | \/\*.*?\*\/ )
          | (?<quoted>   '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` )
          | (?<parameter>:(?<name>\w+) )
          | (?<end>      ; )
          | (?<space>    \s+ )
          | (?<other>    [^\s;:'"`\/-]+ | . )
        )/gmsx) {
        if (defined $+{marker}) {
            die "$file: the marker $+{marker} stands inside a statement\n" if $current{text} ne '';
            die "$file: the marker $+{marker} stands below another one\n" if grep { $current{$_} } qw(raise watch test);
            if (defined $+{close}) {
                push @statements, { end => 1 };
                next;
            }
            @current{qw(raise watch test)} = ($+{raise}, defined $+{watch}, $+{test});
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
    die "$file: a marker without a statement\n" if grep { $current{$_} } qw(raise watch test);
    return @statements;
}

# A SQLite file that neither a line of the manifest nor another file names would be left out in silence.
sub check_strays {
    my %known = map { ("$_->{name}" => 1) } @functions;
    for my $noun (sort keys %nouns) {
        for my $file (glob "$sql/$noun/*.sqlite.sql") {
            my ($name) = $file =~ m{/(\w+)\.sqlite\.sql$};
            die "$file: is neither in the manifest nor included\n" unless $name eq 'tables' || $known{$name} || $included{$file};
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
            sprintf '{%s, %s, %d, %d, %s, %s}', c_string($_->{text}), defined $_->{raise} ? 'CLOACA_' . uc $_->{raise} : 'CLOACA_OK',
                @$_{qw(next skip)}, bool($_->{test}), bool($_->{inner})
        } @{ $function->{statements} });
    }
    $text .= "const clo_function clo_functions[CLO_FUNCTION_COUNT] = {\n" . join('', map { entry($_) } @functions) . "};\n\n";

    my @tables = map { $_->{text} } map { -e "$sql/$_/tables.sqlite.sql" ? split_sql("$_/tables", parts::read_file("$sql/$_/tables.sqlite.sql")) : () }
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
        . "        .waits = " . bool($function->{waits}) . ",\n"
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
    utf8::encode($text);
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/\?\?/?\\?/g;
    $text =~ s/([^\x20-\x7e])/sprintf '\\%03o', ord $1/ge;
    return "\"$text\"";
}

# Only when something changed: a repeated run makes no work.
sub write_changed {
    my ($file, $text) = @_;
    parts::write_file($file, $text) unless -e $file && parts::read_file($file) eq $text;
}
