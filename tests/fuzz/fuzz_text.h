/* fuzz_text.h - what the tokenizer fuzzers do with a tokenizer that a hostile file gave: use all of it, check what must
 * hold. */
#ifndef IMP_FUZZ_TEXT_H
#define IMP_FUZZ_TEXT_H

#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds) abort();
}

/* The streaming detokenizer agrees with the whole, and hands out whole characters only. */
static void check_stream(const Tokenizer *tokenizer, const TokenList *ids, const StrBuf *whole)
{
    Detokenizer *stream = NULL;
    StrBuf text = {0};
    require(detokenizer_create(tokenizer, true, &stream) == IMP_OK);
    for (size_t i = 0; i < ids->count; i++) {
        if (detokenizer_push(stream, ids->ids[i], &text) != IMP_OK) break;
        require(utf8_valid_prefix(text.data, text.length) == text.length);
    }
    if (detokenizer_finish(stream, &text) == IMP_OK) {
        require(text.length == whole->length && memcmp(text.data, whole->data, text.length) == 0);
    }
    detokenizer_free(stream);
    strbuf_free(&text);
}

static void use_tokenizer(const Tokenizer *tokenizer, const char *text, size_t length)
{
    for (unsigned flags = 0; flags < 4; flags++) {
        TokenList ids = {0};
        StrBuf whole = {0};
        if (tokenizer_encode(tokenizer, text, length, flags, &ids) == IMP_OK) {
            for (size_t i = 0; i < ids.count; i++)
                require(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(tokenizer));
            if (tokenizer_decode(tokenizer, ids.ids, ids.count, true, &whole) == IMP_OK)
                check_stream(tokenizer, &ids, &whole);
        }
        token_list_free(&ids);
        strbuf_free(&whole);
    }
    for (int32_t id = -1; id <= 40; id++) {
        size_t n;
        (void)tokenizer_token_bytes(tokenizer, id, &n);
        const char *name = tokenizer_token_text(tokenizer, id, &n);
        if (n > 0) (void)tokenizer_find(tokenizer, name, n);
        (void)tokenizer_is_special(tokenizer, id);
        (void)tokenizer_is_end(tokenizer, id);
    }
}

#endif
