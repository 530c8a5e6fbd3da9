/*
 * config.h - what the files of the configuration share: the schema table, literals as a file or a command line writes
 * them, and the values in force. Outside this room include/imp/settings.h is the way in.
 */
#ifndef IMP_RUNTIME_CONFIG_H
#define IMP_RUNTIME_CONFIG_H

#include "core/arena.h"
#include "core/status.h"
#include "core/strbuf.h"
#include "imp/settings.h"

enum {
    CONFIG_MAX_FILE_BYTES = 1 << 20,
    CONFIG_MAX_LINE_BYTES = 1 << 16,
    CONFIG_MAX_ITEMS = 64, /* of a list */
};

/* A value as it was written, before the schema has had its say. */
typedef enum LiteralKind { LITERAL_BOOL, LITERAL_INT, LITERAL_FLOAT, LITERAL_STRING, LITERAL_LIST } LiteralKind;

typedef struct Literal {
    LiteralKind kind;
    bool boolean;
    int64_t integer;
    double real;              /* of LITERAL_INT too */
    const char *text;         /* LITERAL_STRING: the content, without NUL inside */
    const char *const *items; /* LITERAL_LIST: [n_items] */
    size_t n_items;
} Literal;

/* Reads one value that must fill `length` bytes; memory comes from `arena`. Sentences name no file or line. */
ImpStatus config_parse_literal(const char *text, size_t length, Arena *arena, Literal *out);

/* Calls `assign` for every key of a file, in order: `key` is section.key, `line` counts from 1. The parser puts
 * "name:line: " in front of every sentence, those of `assign` included. */
typedef ImpStatus ConfigAssign(void *user, const char *key, int line, const Literal *literal);
ImpStatus config_parse_text(const char *name, const char *text, size_t length, Arena *arena, ConfigAssign *assign,
                            void *user);

/* The table: imp_setting_at(0 … count-1). An unknown key gets a sentence about the nearest one. */
size_t config_entry_count(void);
ImpStatus config_find(const char *key, size_t *index);
/* IMP_OK when the table has this section; else a sentence with the nearest one. */
ImpStatus config_check_section(const char *section);

/* Checks a literal against the schema: type, range, choices, and whether the mechanism is built. *out is `literal` with
 * what the type implies (a whole number for a float key becomes LITERAL_FLOAT). */
ImpStatus config_check(const ImpSettingInfo *entry, const Literal *literal, Literal *out);

/* A command line's way of writing: what imp.conf accepts, and strings, choices and lists without quotes. */
ImpStatus config_literal_from_argument(const ImpSettingInfo *entry, const char *text, Arena *arena, Literal *out);

/* The text of a whole file, kept by the settings until they are freed; asked again for the same path it answers from
 * memory. */
ImpStatus config_keep_file(ImpSettings *settings, const char *path, const char **text);
/* All entries of a list, [*count]; none for a key that is no list. */
const char *const *config_items(const ImpSettings *settings, const char *key, size_t *count);

#endif
