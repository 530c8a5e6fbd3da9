/*
 * unigram.h - the unigram language model: of all ways to cut a text into pieces the one of the highest summed score.
 * Kudo 2018, https://arxiv.org/abs/1804.10959.
 */
#ifndef IMP_TEXT_UNIGRAM_H
#define IMP_TEXT_UNIGRAM_H

#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/trie.h"
#include "text/tokenizer/vocab.h"

typedef struct Unigram {
    const Vocab *vocab;
    const double *scores; /* [vocab->count], as the reference reads them */
    Trie trie;            /* over the model's tokens; values are ids */
    double unknown_score;
    int32_t unknown; /* -1: a character without a piece is an error */
    bool byte_fallback;
    int32_t fallback_ids[256]; /* of <0xNN>; -1 */
} Unigram;

/* `vocab` must be indexed by text; `given` are the scores of its ids as a file says them. */
ImpStatus unigram_create(Arena *arena, const Vocab *vocab, const double *given, Unigram *out);

/* What one call works with; zero-initialize, free with unigram_scratch_free. */
typedef struct UnigramScratch {
    struct UnigramNode *nodes; /* [capacity]: one a position */
    uint32_t *ends;            /* [capacity]: of the best path's pieces, last first */
    size_t capacity;
} UnigramScratch;

void unigram_scratch_free(UnigramScratch *scratch);

/* Appends the ids of one word of valid UTF-8. */
ImpStatus unigram_encode(const Unigram *unigram, UnigramScratch *scratch, const char *word, size_t length,
                         TokenList *out);

#endif
