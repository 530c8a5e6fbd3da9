/*
 * cli.h - what the files of imp-cli share: the flags as they were given, the program's state, and who does what.
 *
 * Standard output receives the answer (or the table, the ids, the JSON that was asked for) and nothing else; all else
 * goes to standard error. Exit codes: 0 done, 1 failed, 2 asked for something that cannot be.
 */
#ifndef IMP_CLI_H
#define IMP_CLI_H

#include "imp/constrain.h"
#include "imp/imp.h"
#include "imp/inspect.h"
#include "imp/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define CLI_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))

/* ---- args.c: the command line ---- */

/* Flags that are no settings, filled through the table in flags.c. */
typedef struct Options {
    const char *config, *prompt, *ids, *render_chat, *dump_logits, *perplexity, *print_reference;
    const char *json_schema, *regex, *grammar;
    bool help, version, list_devices, mem_report, json, quiet;
    bool interactive, bench, tokenize, detokenize, check_constraint, jsonl, add_special, no_parse_special;
    bool max_tokens_given;
} Options;

/* Reads the command line: flags into `options`; then the configuration file, --set and the named flags, in this order,
 * into `settings`. A flag that ends all further reading (--help, --version) leaves the settings alone. Prints its own
 * errors. */
int args_parse(int argc, char **argv, Options *options, ImpSettings *settings);

/* ---- flags.c: the table of flags ---- */

typedef enum FlagGroup {
    GROUP_MODEL,
    GROUP_PROMPT,
    GROUP_ANSWER,
    GROUP_SAMPLING,
    GROUP_BENCH,
    GROUP_TEXT,
    GROUP_INSPECT,
    GROUP_GENERAL,
    GROUP_COUNT
} FlagGroup;

typedef enum FlagKind {
    FLAG_SETTING, /* `setting` = the argument, or = `value` for a switch */
    FLAG_APPEND,  /* the argument is added to the list `setting`, which the first one empties */
    FLAG_SET,     /* --set */
    FLAG_TEXT,    /* the argument goes to a const char * in Options */
    FLAG_SWITCH,  /* true goes to a bool in Options */
} FlagKind;

typedef struct Flag {
    const char *name; /* "--model" */
    char letter;      /* 'm' for -m; 0: none */
    FlagKind kind;
    FlagGroup group;
    const char *argument; /* "PATH"; NULL: a switch */
    const char *setting;  /* key of imp.conf */
    const char *value;    /* of a FLAG_SETTING switch */
    size_t offset;        /* in Options */
    const char *help;     /* NULL: the setting's */
    bool hidden;          /* for those who build imp */
} Flag;

/* NULL past the end. */
const Flag *flag_at(size_t index);
const Flag *flag_find(const char *name, size_t length);
/* The flag that a mistyped one most likely meant. */
const char *flag_nearest(const char *name);
const char *flag_group_title(FlagGroup group);
/* The help text as one paragraph: the flag's or its setting's, then the default. Into `out`, cut at `size`. */
void flag_describe(const Flag *flag, char *out, size_t size);

/* ---- help.c, reference.c ---- */

int help_print(void);
/* One of the generated files of the repository: markdown, example, man-cli, man-conf, bash, zsh. */
int reference_print(const char *what);

/* ---- terminal.c: writing ---- */

/* Asks once about the terminals behind standard output and error. */
void terminal_start(bool quiet);
bool terminal_can_draw(void);   /* standard error, and not a dumb one */
bool terminal_has_colour(void); /* the same, and colours are wanted */
int terminal_width(void);

/* Writes to standard output at once. false when it cannot be written to: then output_status() is EXIT_FAILED, the
 * sentence was printed, and all later writes fail in silence. */
bool output_write(const char *bytes, size_t length);
/* The same for what a model said: on a terminal control characters, which could do anything to it, show as U+FFFD. */
bool output_text(const char *text, size_t length);
bool output_printf(const char *format, ...) CLI_PRINTF(1, 2);
int output_status(void);

/* "imp-cli: sentence" on standard error. Both return their exit code. */
int fail(const char *format, ...) CLI_PRINTF(1, 2);
int fail_usage(const char *format, ...) CLI_PRINTF(1, 2);
/* The library's last error; IMP_ERR_INVALID_ARGUMENT is not the user's usage, hence EXIT_FAILED. */
int fail_imp(void);
/* A line for people on standard error; silent under --quiet. */
void note(const char *format, ...) CLI_PRINTF(1, 2);
/* The same for what they asked for in so many words: never silent. */
void tell(const char *format, ...) CLI_PRINTF(1, 2);

/* ImpProgressCallback that draws a bar on a terminal, and nothing elsewhere. progress_clear wipes it out. */
bool progress_draw(void *user, const char *what, uint64_t done, uint64_t total);
void progress_clear(void);

/* ---- text.c: bytes in and out ---- */

/* Growing bytes, NUL-terminated whenever `data` is not NULL; zero-initialize. */
typedef struct Text {
    char *data;
    size_t length, capacity;
} Text;

/* false without memory; the text is then as before. */
bool text_append(Text *text, const char *bytes, size_t length);
bool text_puts(Text *text, const char *string);
void text_clear(Text *text);
void text_free(Text *text);
/* Appends a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
bool text_append_json(Text *text, const char *bytes, size_t length);
/* Reads a JSON string that fills `line` up to white space; lone surrogates become U+FFFD. NULL in *error, or what is
 * wrong. */
bool text_parse_json(Text *text, const char *line, size_t length, const char **error);

/* All of a file ("-": standard input). Prints its own error and returns its exit code. */
int text_read_file(Text *text, const char *path);
/* What --prompt says (@file, @@text) or else standard input. `strip`: without one final line break. */
int text_read_prompt(Text *text, const char *prompt, bool strip);

/* Token ids; zero-initialize. */
typedef struct Ids {
    int32_t *data;
    size_t count, capacity;
} Ids;

bool ids_push(Ids *ids, int32_t id);
void ids_free(Ids *ids);
/* Appends [1, 2, 3]. */
bool ids_append_json(Text *text, const int32_t *ids, size_t count);
/* Reads [1, 2, 3]. */
bool ids_parse_json(Ids *ids, const char *line, size_t length, const char **error);
/* Tokenizes into an empty list. */
int ids_tokenize(Ids *ids, ImpModel model, const char *text, size_t length, unsigned flags);
/* A file of 32-bit little-endian numbers ("-": standard input). */
int ids_read_file(Ids *ids, const char *path, int32_t n_vocab);

/* ---- session.c: a model and its context ---- */

typedef struct Session {
    const Options *options;
    ImpSettings *settings;
    ImpModel model;
    ImpModelInfo info;
    ImpContext context;
    ImpConfig config;
    ImpGenerateParams params;
    ImpConstraint constraint; /* of --json-schema, --regex or --grammar; NULL: none */
} Session;

/* Each prints its own error and returns its exit code. `config` is filled from the settings by session_open and may be
 * changed before session_start creates the context. */
int session_open(Session *session, const Options *options, ImpSettings *settings);
int session_open_vocabulary(Session *session, const Options *options, ImpSettings *settings);
int session_start(Session *session);
void session_close(Session *session);
/* Whether prompts go through a chat template: never with --raw, else where there is one. */
bool session_uses_template(const Session *session);
/* The ids of a prompt as generation sees them: --ids, or the prompt through the template and the tokenizer. Never none.
 */
int session_prompt_ids(const Session *session, Ids *ids);
/* The same of a text without a template, and of messages through one. */
int session_text_ids(const Session *session, const char *text, size_t length, Ids *ids);
int session_chat_ids(const Session *session, const ImpMessage *messages, size_t n_messages, Ids *ids);
/* diagnostics.dump_tokens: what the context holds, prompt and answer, on standard error. */
void session_dump_tokens(const Session *session);
/* diagnostics.debug_forward: the ImpLayerCallback that writes one line a layer; `user` is not used. */
void session_print_layer(void *user, int32_t layer, const float *rows, int32_t n_rows, int32_t width);
/* Path of a model given by path or short name; "" in *path when none was given. */
int session_find_model(ImpSettings *settings, char *path, size_t size);

/* ---- the things imp-cli does ---- */

int generate_run(Session *session);
/* The answer to a prompt of ids, from a started session. */
int generate_answer(Session *session, const Ids *ids);
int chat_run(Session *session);
int bench_run(Session *session);
int dump_run(Session *session);
int perplexity_run(Session *session);
/* Prints what the context took from its device. */
int memory_run(Session *session);
int tokenize_run(Session *session);
int detokenize_run(Session *session);
int check_constraint_run(Session *session);
int render_run(const Options *options, ImpSettings *settings);
int devices_run(const Options *options);

/* Where the text of an answer goes; generate_take_text is the ImpTextCallback of one. */
typedef struct Answer {
    bool silent; /* the text is wanted later, as a whole */
    char last;   /* byte written, 0: none */
} Answer;

bool generate_take_text(void *answer, const char *text, size_t length);

/* generate.c: "12 tokens, 34.5 tok/s …" of the last answer, on standard error; `asked`: under --quiet too. */
void generate_report(const Session *session, bool asked);
const char *generate_stop_name(ImpStopReason reason);

#endif
