/*
 * bpe.h - byte-pair encoding: a word's symbols are merged, the pair of the lowest rank first, of equals the leftmost.
 *
 * Ranks come from a list of merges (Hugging Face, GGUF "gpt2") or from the scores of the tokens (SentencePiece, GGUF
 * "llama"); symbols are bytes (byte-level models) or characters. Sennrich et al. 2016,
 * https://arxiv.org/abs/1508.07909.
 */
#ifndef IMP_TEXT_BPE_H
#define IMP_TEXT_BPE_H

#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocab.h"

#include <stdatomic.h>

typedef struct BpeMerge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty slot */
    uint32_t rank;
    int32_t result;
} BpeMerge;

typedef struct Bpe {
    const Vocab *vocab;
    BpeMerge *merges; /* hash table, [merge_mask + 1]; NULL when the scores rank */
    uint64_t merge_mask;
    const float *scores; /* [vocab->count]; NULL when the merges rank */
    bool bytes;          /* symbols are bytes, keys are raw bytes */
    bool ignore_merges, fuse_unknown, byte_fallback;
    int32_t unknown;                       /* -1: unknown characters are dropped */
    const char *word_prefix, *word_suffix; /* continuing_subword_prefix, end_of_word_suffix; NULL when empty */
    int32_t symbol_ids[256];               /* of single bytes (byte symbols) or ASCII characters; -1 */
    int32_t fallback_ids[256];             /* of <0xNN>; -1 */
    bool fallback_complete;                /* all 256 exist, and none takes part in a merge */
    _Atomic uint8_t *whole;                /* [vocab->count]: whether a token's own text becomes that one token */
    uint64_t *adjacent;                    /* bit set of the character pairs inside tokens; NULL: never cut */
} Bpe;

/* Memory that one call of tokenizer_encode works with; zero-initialize. */
typedef struct BpeScratch BpeScratch;

/* `vocab` must be indexed; `n_merges` sizes the table (0 with scores). Fills everything but the options. */
ImpStatus bpe_create(Arena *arena, const Vocab *vocab, size_t n_merges, const float *scores, Bpe *out);

/* Adds the merge of two texts (in the vocabulary's own spelling) with the given rank; a pair that comes again takes the
 * later rank, as in the reference. Fails when a part or the result is no token. */
ImpStatus bpe_add_merge(Bpe *bpe, const char *left, size_t left_length, const char *right, size_t right_length,
                        uint32_t rank);

/* After the options and the merges are set. `whole_text`: no pre-tokenizer cuts the text into words, so that long texts
 * must be cut where no merge can reach across. */
ImpStatus bpe_finish(Bpe *bpe, Arena *arena, bool whole_text);

/* For a text of so many bytes. NULL without memory. */
BpeScratch *bpe_scratch_create(size_t text_length);
void bpe_scratch_free(BpeScratch *scratch);

/* Appends the ids of one word: valid UTF-8, or any bytes when symbols are bytes. */
ImpStatus bpe_encode(const Bpe *bpe, BpeScratch *scratch, const char *word, size_t length, TokenList *out);

#endif
