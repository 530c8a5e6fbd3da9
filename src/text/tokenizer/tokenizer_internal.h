/*
 * tokenizer_internal.h - what a loaded tokenizer is made of. The loaders fill it, tokenizer.c runs it.
 */
#ifndef IMP_TEXT_TOKENIZER_INTERNAL_H
#define IMP_TEXT_TOKENIZER_INTERNAL_H

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/decoder.h"
#include "text/tokenizer/pretokenizer.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocab.h"

struct Tokenizer {
    Arena arena;
    const UnicodeTable *unicode;
    Vocab vocab;
    AddedTokens added;
    PreTokenizer pre;
    Bpe bpe;
    Decoder decoder;
    /* What TOKENIZE_ADD_SPECIAL puts around the text. */
    const int32_t *before, *after; /* [n_before], [n_after] */
    size_t n_before, n_after;
    int32_t bos, eos;
    uint8_t *ends; /* [vocab.count]: 1 where the id ends generation */
};

/* The loaders: they fill a zeroed tokenizer up to, not including, tokenizer_complete. */
ImpStatus tokenizer_load_gguf(Tokenizer *tokenizer, const GgufMeta *meta);

/* Gives every token its bytes, once everything is filled. */
ImpStatus tokenizer_complete(Tokenizer *tokenizer);

/* Copies ids into the tokenizer's memory. */
ImpStatus tokenizer_set_template(Tokenizer *tokenizer, const TokenList *before, const TokenList *after);

/* Marks an id as one that ends generation; ids out of range are ignored, because files name them carelessly. */
void tokenizer_add_end(Tokenizer *tokenizer, int64_t id);

#endif
