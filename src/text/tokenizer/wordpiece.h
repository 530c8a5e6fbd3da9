/*
 * wordpiece.h - BERT's model: a word is cut greedily into the longest tokens, or is unknown as a whole. WordLevel,
 * which knows whole words only, is the same with no cutting.
 */
#ifndef IMP_TEXT_WORDPIECE_H
#define IMP_TEXT_WORDPIECE_H

#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocab.h"

typedef struct WordPiece {
    const Vocab *vocab;
    const char *prefix;    /* of tokens that continue a word, "##" */
    size_t max_characters; /* longer words are unknown */
    bool whole_words;      /* WordLevel */
    size_t longest;        /* bytes of the longest token */
    int32_t unknown;       /* -1: an unknown word is an error */
} WordPiece;

/* `vocab` must be indexed by text; `prefix` must stay. */
WordPiece wordpiece_create(const Vocab *vocab, const char *prefix, size_t max_characters, int32_t unknown);

WordPiece wordlevel_create(const Vocab *vocab, int32_t unknown);

/* Appends the ids of one word of valid UTF-8. */
ImpStatus wordpiece_encode(const WordPiece *model, const char *word, size_t length, TokenList *out);

#endif
