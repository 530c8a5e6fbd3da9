/*
 * tokenizer.h - text to token ids and back, equal to Hugging Face `tokenizers` in every id and byte.
 *
 * One Tokenizer is immutable after load and may be used by many threads at once.
 */
#ifndef IMP_TEXT_TOKENIZER_H
#define IMP_TEXT_TOKENIZER_H

#include "core/status.h"
#include "core/strbuf.h"
#include "format/model_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Tokenizer Tokenizer;

/* Growing list of ids; zero-initialize, free with token_list_free. */
typedef struct TokenList {
    int32_t *ids;
    size_t count, capacity;
} TokenList;

ImpStatus token_list_push(TokenList *list, int32_t id);
void token_list_free(TokenList *list);

/* From a GGUF's tokenizer.ggml.* metadata or a directory's tokenizer.json (+ tokenizer_config.json). A model file
 * without a vocabulary gives IMP_OK and *out = NULL. */
ImpStatus tokenizer_load(const ModelFile *file, Tokenizer **out);
void tokenizer_free(Tokenizer *tokenizer);

enum {
    TOKENIZE_ADD_SPECIAL = 1,   /* BOS, EOS or the post-processor's template, where the model adds them */
    TOKENIZE_PARSE_SPECIAL = 2, /* the text of special tokens becomes those tokens */
};

/* Appends the ids of `length` bytes (any bytes: invalid UTF-8 is read as U+FFFD, as Python's decoder does) to `out`. */
ImpStatus tokenizer_encode(const Tokenizer *tokenizer, const char *text, size_t length, unsigned flags, TokenList *out);

/* Appends the text of `count` ids, as the model's decoder gives it (first-space rules included); unknown ids are an
 * error. `keep_special` false drops special tokens. */
ImpStatus tokenizer_decode(const Tokenizer *tokenizer, const int32_t *ids, size_t count, bool keep_special,
                           StrBuf *out);

/* Number of ids: every id is 0 … count-1 (an id may be unused). */
int32_t tokenizer_vocab_size(const Tokenizer *tokenizer);

/* The bytes a token stands for inside running text (byte-fallback tokens: that byte; no first-space stripping), for
 * constraints and log-probability listings. Length 0 for unused ids and for special (control) tokens. */
const char *tokenizer_token_bytes(const Tokenizer *tokenizer, int32_t id, size_t *length);
/* The token's content as text, special tokens included ("<|im_end|>"); length 0 for unused ids. */
const char *tokenizer_token_text(const Tokenizer *tokenizer, int32_t id, size_t *length);
/* The id whose content is exactly `text` (added tokens first); -1 when there is none. */
int32_t tokenizer_find(const Tokenizer *tokenizer, const char *text, size_t length);

bool tokenizer_is_special(const Tokenizer *tokenizer, int32_t id);
/* End of generation: EOS, end of turn, and the further ids that the model's files name. */
bool tokenizer_is_end(const Tokenizer *tokenizer, int32_t id);
/* -1 when the model has none. */
int32_t tokenizer_bos(const Tokenizer *tokenizer);
int32_t tokenizer_eos(const Tokenizer *tokenizer);
/* Whether TOKENIZE_ADD_SPECIAL puts a BOS first. */
bool tokenizer_adds_bos(const Tokenizer *tokenizer);

/*
 * Streaming detokenizer: the concatenation of what it hands out equals tokenizer_decode of all ids, and no piece ends
 * inside a UTF-8 character.
 */
typedef struct Detokenizer Detokenizer;
ImpStatus detokenizer_create(const Tokenizer *tokenizer, bool keep_special, Detokenizer **out);
void detokenizer_free(Detokenizer *stream);
/* Appends whatever text is final after this id. */
ImpStatus detokenizer_push(Detokenizer *stream, int32_t id, StrBuf *out);
/* Appends what is still held back; the stream is then as new. */
ImpStatus detokenizer_finish(Detokenizer *stream, StrBuf *out);

#endif
