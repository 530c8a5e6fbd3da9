/*
 * json_steps.h - the normalizer, pre-tokenizer, decoder and post-processor of a tokenizer.json.
 *
 * Each call appends the steps of one JSON object, null or absent (NULL) meaning none. Errors name the field and the
 * type.
 */
#ifndef IMP_TEXT_JSON_STEPS_H
#define IMP_TEXT_JSON_STEPS_H

#include "text/tokenizer/tokenizer_internal.h"

#include <jansson.h>

ImpStatus json_load_normalizer(Tokenizer *tokenizer, const json_t *json);
ImpStatus json_load_pre_tokenizer(Tokenizer *tokenizer, const json_t *json);
ImpStatus json_load_decoder(Tokenizer *tokenizer, const json_t *json);
/* What comes before and after a single text. Ids outside the vocabulary are an error. */
ImpStatus json_load_post_processor(Tokenizer *tokenizer, const json_t *json, TokenList *before, TokenList *after);

/* The string under a key, copied into the tokenizer's memory; `fallback` (not copied) when absent or null. */
ImpStatus json_text(Tokenizer *tokenizer, const json_t *object, const char *key, const char *fallback, const char **out,
                    size_t *length);
/* A boolean; `fallback` when absent or null. */
ImpStatus json_flag(const json_t *object, const char *key, bool fallback, bool *out);

#endif
