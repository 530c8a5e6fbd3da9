/*
 * precompiled.h - SentencePiece's compiled table of replacements (precompiled_charsmap): a double-array trie over UTF-8
 * and the texts that its keys become.
 */
#ifndef IMP_TEXT_PRECOMPILED_H
#define IMP_TEXT_PRECOMPILED_H

#include "core/arena.h"
#include "core/status.h"
#include "core/strbuf.h"

#include <stdint.h>

typedef struct Precompiled {
    const uint32_t *units; /* [n_units] */
    size_t n_units;
    const char *texts; /* NUL-terminated replacements, valid UTF-8 */
    size_t texts_length;
} Precompiled;

/* Copies and checks the table: 32-bit size of the trie, trie, texts. IMP_ERR_FORMAT when it is none. */
ImpStatus precompiled_create(Arena *arena, const uint8_t *data, size_t size, Precompiled *out);

/* Appends the text with its replacements; valid UTF-8 in and out. */
void precompiled_apply(const Precompiled *table, const char *text, size_t length, StrBuf *out);

#endif
