/*
 * tokenizer_internal.h - what a loaded tokenizer is made of. The loaders fill it, tokenizer.c runs it.
 */
#ifndef IMP_TEXT_TOKENIZER_INTERNAL_H
#define IMP_TEXT_TOKENIZER_INTERNAL_H

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/decoder.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/pretokenizer.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/unigram.h"
#include "text/tokenizer/vocab.h"
#include "text/tokenizer/wordpiece.h"

typedef enum ModelKind { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE } ModelKind;

struct Tokenizer {
    Arena arena;
    const UnicodeTable *unicode;
    PatternCompiler patterns; /* while loading */
    Vocab vocab;
    AddedTokens added;
    Normalizer normalizer;
    PreTokenizer pre;
    ModelKind kind;
    union {
        Bpe bpe;
        Unigram unigram;
        WordPiece wordpiece; /* WordLevel too */
    } model;
    Decoder decoder;
    /* What TOKENIZE_ADD_SPECIAL puts around the text. */
    const int32_t *before, *after; /* [n_before], [n_after] */
    size_t n_before, n_after;
    int32_t bos, eos;
    uint8_t *ends; /* [vocab.count]: 1 where the id ends generation */
};

/* The loaders: they fill a zeroed tokenizer up to, not including, tokenizer_complete. */
ImpStatus tokenizer_load_gguf(Tokenizer *tokenizer, const GgufMeta *meta);
/* `tokenizer_config`, `config` and `generation_config` may be NULL. */
ImpStatus tokenizer_load_json(Tokenizer *tokenizer, const json_t *json, const json_t *tokenizer_config,
                              const json_t *config, const json_t *generation_config);

/* The whole of it: a tokenizer from JSON, or from GGUF metadata when `json` is NULL. */
ImpStatus tokenizer_create_json(const json_t *json, const json_t *tokenizer_config, const json_t *config,
                                const json_t *generation_config, Tokenizer **out);
ImpStatus tokenizer_create_gguf(const GgufMeta *meta, Tokenizer **out);

/* Room for `count` ids: vocabulary, ends, and as many added tokens as may come. */
ImpStatus tokenizer_create_vocab(Tokenizer *tokenizer, size_t count, size_t max_added);

/* Normalizes what added tokens say they want normalized, and indexes them; after the normalizer is set. */
ImpStatus tokenizer_index_added(Tokenizer *tokenizer);

/* Gives every token its bytes, once everything is filled. */
ImpStatus tokenizer_complete(Tokenizer *tokenizer);

/* Copies ids into the tokenizer's memory. */
ImpStatus tokenizer_set_template(Tokenizer *tokenizer, const TokenList *before, const TokenList *after);

/* Marks an id as one that ends generation; ids out of range are ignored, because files name them carelessly. */
void tokenizer_add_end(Tokenizer *tokenizer, int64_t id);

/* Control tokens that end a turn whatever their model: marks those that the vocabulary has. */
void tokenizer_add_known_ends(Tokenizer *tokenizer);

/* The id of a token by its text as the files write it, added or not; walks the vocabulary. -1 when there is none. */
int32_t tokenizer_find_slow(const Tokenizer *tokenizer, const char *text, size_t length);

#endif
