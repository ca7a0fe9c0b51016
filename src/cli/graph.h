/*
 * graph.h - the tasks of a workflow and what depends on what, for showing
 */
#ifndef CLOACA_CLI_GRAPH_H
#define CLOACA_CLI_GRAPH_H

#include "cli.h"

struct node {
    char *name;
    char *state; /* NULL: of a definition, which has none */
    char *worker;
    char *awaits;
    char *error;
    char *needs; /* the names of its dependencies, a JSON array, or NULL */
    int attempt;
    size_t *dependencies; /* places in the graph */
    size_t dependency_count;
    size_t *dependents;
    size_t dependent_count;
    bool shown; /* in full, while a tree is drawn */
};

struct graph {
    struct node *nodes;
    size_t count;
};

/* How lines are drawn. */
struct style {
    bool unicode;
    bool colours;
    int width;   /* columns; 0: no limit */
    size_t rows; /* lines; 0: no limit */
};

/* From the tasks of an execution, page by page, then joined. */
void graph_add_tasks(struct graph *graph, const cloaca_result *tasks);
/* From the JSON of a definition, then joined. */
void graph_add_definition(struct graph *graph, const char *definition);
/* Finds what the names of dependencies stand for. */
void graph_join(struct graph *graph);
void graph_free(struct graph *graph);
/* Appends the tree, a line for each task and each further dependency, no more than the style has rows for. */
void graph_tree(struct graph *graph, const struct style *style, struct buffer *out);
void graph_dot(const struct graph *graph, const char *title, struct buffer *out);
/* Appends the text in the colour of the state, if the style has colours. */
void append_coloured(struct buffer *out, const struct style *style, const char *state, const char *text);
/* Appends the text, escaped, in no more than that many columns (negative: any number); returns how many it took. */
int append_cut(struct buffer *out, const char *text, int width);
/* Appends lines, which are escaped but for colours, each in no more than that many columns (negative: any number). */
void append_fitted(struct buffer *out, const char *text, int width);

#endif
