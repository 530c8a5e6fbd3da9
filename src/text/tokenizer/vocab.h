/*
 * vocab.h - the tokens of a model: what each id is called, which bytes it stands for, and the id of a piece of text.
 */
#ifndef IMP_TEXT_VOCAB_H
#define IMP_TEXT_VOCAB_H

#include "core/arena.h"
#include "core/status.h"
#include "core/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VOCAB_MAX_IDS = 1 << 24,
    VOCAB_MAX_TOKEN_BYTES = 1 << 20,
};

enum {
    VOCAB_MODEL = 1,   /* the model's own token: it can come out of a merge or a look-up */
    VOCAB_ADDED = 2,   /* found in the text before the model sees it */
    VOCAB_SPECIAL = 4, /* a control token: not text */
    VOCAB_SHARED = 16, /* an added token has the id of a token of the model; it is what is decoded */
    VOCAB_RENAMED = 8, /* an added token that is searched, and decoded, in another form: the normalized one */
};

typedef struct VocabToken {
    const char *text;  /* as the files write it; NULL for an unused id */
    const char *bytes; /* what it stands for in running text; NULL until vocab_set_bytes */
    uint32_t text_length, bytes_length;
    uint8_t flags;
} VocabToken;

typedef struct VocabSlot {
    uint32_t tag; /* high half of the hash */
    int32_t id;   /* -1: empty */
} VocabSlot;

typedef struct Vocab {
    VocabToken *tokens; /* [count] */
    int32_t count;
    VocabSlot *slots; /* [mask + 1], built by vocab_index */
    uint64_t mask, seed;
    bool keyed_by_bytes; /* keys are the tokens' raw bytes, not their byte-level texts */
    VocabSlot *foreign;  /* [foreign_mask + 1], by text: model tokens outside of the byte-level alphabet; or NULL */
    uint64_t foreign_mask;
} Vocab;

/* A vocabulary of `count` unused ids. */
ImpStatus vocab_create(Arena *arena, size_t count, Vocab *out);

/* Names an id below `count`; the text is copied and, where it is no UTF-8, repaired. Naming an id again replaces its
 * text and adds the flags. */
ImpStatus vocab_set(Vocab *vocab, Arena *arena, int32_t id, const char *text, size_t length, unsigned flags);

/*
 * Builds the table from text to id over all tokens with VOCAB_MODEL. With `by_bytes` the keys are raw bytes: tokens
 * whose text is in the byte-level alphabet; other tokens cannot come out of a byte-level model and are found by
 * vocab_find alone. Of two tokens with one text the higher id wins.
 */
ImpStatus vocab_index(Vocab *vocab, Arena *arena, bool by_bytes);

/* The id of a model token by its text, whatever the keys are; -1 when there is none. Allocates nothing that stays. */
int32_t vocab_find(const Vocab *vocab, const char *text, size_t length);

/* The id of a key; -1 when there is none. */
int32_t vocab_lookup(const Vocab *vocab, const char *key, size_t length);

/* The same with vocab_hash(vocab, key, length) at hand. */
int32_t vocab_lookup_hashed(const Vocab *vocab, const char *key, size_t length, uint64_t hash);

/* 64 well-mixed bits. */
uint64_t vocab_hash(const Vocab *vocab, const char *key, size_t length);

/* The byte that a text like <0x0A> names; -1 for other texts. */
int vocab_byte_of(const char *text, size_t length);

/*
 * GPT-2's byte-level alphabet: each byte has a printable character of its own.
 */
/* The character of a byte. */
uint32_t byte_level_char(unsigned char byte);
/* Appends the characters of all bytes. */
void byte_level_encode(const char *bytes, size_t length, StrBuf *out);
/* Writes the bytes behind a text (at most `length` of them) and their number; false when a character is not of the
 * alphabet. */
bool byte_level_decode(const char *text, size_t length, char *out, size_t *out_length);

#endif
