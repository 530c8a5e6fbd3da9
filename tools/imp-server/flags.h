/*
 * flags.h - the command line of imp-server: one table, from which --help, the manual page and the completions are made.
 */
#ifndef IMP_SERVER_FLAGS_H
#define IMP_SERVER_FLAGS_H

#include "imp/settings.h"

#include <stddef.h>

typedef struct Flag {
    const char *name, *argument; /* argument NULL: none */
    const char *setting;         /* the key of imp.conf that it sets; NULL: the program knows what to do */
    const char *help;            /* NULL: the key's */
} Flag;

/* In the order of --help; NULL past the end. */
const Flag *flag_at(size_t index);
/* Help with range and default. */
void flag_describe(const Flag *flag, char *out, size_t size);

/* Configuration file, --set, named flags, in this order. Prints what is wrong; an exit code. */
int flags_read(char **words, ImpSettings *settings);

/* --help; --print-reference man, bash or zsh. Exit codes. */
int help_print(void);
int reference_print(const char *what);

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };
/* Prints the sentence on standard error; returns the code. */
int fail(int code, const char *sentence);

#endif
