/*
 * argument_reader.h - the arguments of one call, in whatever syntax a model writes them, become JSON text as they come.
 *
 * What is held back is what cannot be told yet: the beginning of a marker, a number, a value whose type decides how it reads.
 */
#ifndef IMP_RUNTIME_ARGUMENT_READER_H
#define IMP_RUNTIME_ARGUMENT_READER_H

#include "core/strbuf.h"
#include "runtime/tools/tool_format.h"
#include "runtime/tools/tool_list.h"

#include <stdint.h>

enum { ARGUMENT_MAX_DEPTH = 256, ARGUMENT_MAX_WORD = 1 << 20, ARGUMENT_MAX_KEY = 256 };

typedef enum ArgumentStatus {
    ARGUMENT_MORE,  /* the arguments go on */
    ARGUMENT_DONE,  /* they ended with the last consumed byte */
    ARGUMENT_BROKEN /* the next byte cannot belong to them */
} ArgumentStatus;

typedef struct ArgumentReader {
    const ToolFormat *format;
    ArgumentSyntax syntax;
    const OfferedTool *tool;
    int mode;                               /* of the syntax */
    int value_mode;                         /* ARGUMENTS_TAGGED: what the text says that the value is; 0: nothing */
    unsigned types;                         /* ARGUMENTS_TAGGED: which the value may have */
    bool triple;                            /* the string at hand is between three quotes each */
    char string_end;                        /* the quote that ends the string at hand; 0: the format's */
    bool escaped, member_follows, string_is_key;
    uint32_t depth, n_positional;
    uint8_t is_list[ARGUMENT_MAX_DEPTH / 8]; /* of each open container */
    StrBuf word;                            /* a key, a number, a value that has to be whole first */
} ArgumentReader;

/* Ready for the byte behind the name. */
void argument_reader_begin(ArgumentReader *reader, const ToolFormat *format, ArgumentSyntax syntax, const OfferedTool *tool);
void argument_reader_free(ArgumentReader *reader);

/* Appends JSON to `out` and returns how many bytes were consumed: fewer than `length` when more must come first (`last`: nothing
 * will) or when *status is no longer ARGUMENT_MORE. */
size_t argument_reader_push(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                            ArgumentStatus *status);

/* ---- for the syntaxes ---- */

typedef size_t ArgumentSyntaxPush(ArgumentReader *reader, const char *text, size_t length, bool last, StrBuf *out,
                                  ArgumentStatus *status);
ArgumentSyntaxPush argument_json_push, argument_loose_push, argument_tagged_push;

bool argument_is_space(char byte);
bool argument_enter(ArgumentReader *reader, bool list);
bool argument_in_list(const ArgumentReader *reader);
/* One byte of a string's content as JSON. */
void argument_put_character(StrBuf *out, char byte);
/* A whole string with its quotes. */
void argument_put_string(StrBuf *out, const char *text, size_t length);
/* A value as Python writes it. False, and nothing written, when it is none. */
bool argument_put_python(StrBuf *out, const char *text, size_t length);
/* A value without quotes: a number or literal as JSON spells it, anything else as a string. */
void argument_put_word(StrBuf *out, const char *text, size_t length);

/* How a literal compares with what has come so far. White space in it stands for any run of white space. */
typedef enum LiteralMatch { LITERAL_NO, LITERAL_MORE, LITERAL_YES } LiteralMatch;
/* *length_out: bytes of text that it took. */
LiteralMatch literal_match(const char *literal, const char *text, size_t length, size_t *length_out);

#endif
