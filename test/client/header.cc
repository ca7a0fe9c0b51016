/*
 * header.cc - the public header in C++: never run, only compiled with every warning (test/lint/c.t)
 */
#include "cloaca.h"

cloaca_enqueue_options task = CLOACA_ENQUEUE_INIT;
cloaca_runner_options runner = CLOACA_RUNNER_INIT;
