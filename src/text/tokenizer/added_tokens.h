/*
 * added_tokens.h - tokens that are cut out of the text before the model sees the rest: control tokens and what people
 * added.
 */
#ifndef IMP_TEXT_ADDED_TOKENS_H
#define IMP_TEXT_ADDED_TOKENS_H

#include "core/arena.h"
#include "core/status.h"
#include "text/tokenizer/trie.h"
#include "text/tokenizer/unicode.h"

typedef struct AddedToken {
    const char *content; /* what is searched for: normalized where `normalized` says so */
    uint32_t length;
    int32_t id;
    bool single_word; /* not next to a word character */
    bool strip_left;  /* takes the white space before it */
    bool strip_right;
    bool normalized; /* searched in the normalized text */
    bool special;
} AddedToken;

typedef struct AddedTokens {
    AddedToken *tokens; /* [count] */
    size_t count;
    Trie tries[2]; /* values are indices into tokens; [0] for the raw text, [1] for the normalized one */
    const UnicodeTable *unicode;
} AddedTokens;

/* Builds the tries over `tokens`. */
ImpStatus added_tokens_index(AddedTokens *added, Arena *arena);

/* The added token of an id; NULL when there is none. */
const AddedToken *added_tokens_find(const AddedTokens *added, int32_t id);

/* Receives the parts of a text in order: a token (`id` ≥ 0) or text between tokens (`id` -1). */
typedef ImpStatus AddedSink(void *user, const char *text, size_t length, size_t offset, int32_t id);

/*
 * Cuts the tokens of one trie out of a text, at each place the longest. Without `parse_special` special tokens are
 * text, though what they cover is not searched again, as in the reference.
 */
ImpStatus added_tokens_split(const AddedTokens *added, bool normalized, bool parse_special, const char *text,
                             size_t length, AddedSink *sink, void *user);

#endif
