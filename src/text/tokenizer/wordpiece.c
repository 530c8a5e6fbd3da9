/* wordpiece.c - longest match first, from left to right. */
#include "text/tokenizer/wordpiece.h"

#include "text/tokenizer/utf8.h"

#include <string.h>

WordPiece wordpiece_create(const Vocab *vocab, const char *prefix, size_t max_characters, int32_t unknown)
{
    WordPiece model = {.vocab = vocab, .prefix = prefix, .max_characters = max_characters, .unknown = unknown};
    for (int32_t id = 0; id < vocab->count; id++) {
        const VocabToken *token = &vocab->tokens[id];
        if ((token->flags & VOCAB_MODEL) != 0 && token->text_length > model.longest) model.longest = token->text_length;
    }
    return model;
}

WordPiece wordlevel_create(const Vocab *vocab, int32_t unknown)
{
    return (WordPiece){.vocab = vocab, .prefix = "", .whole_words = true, .unknown = unknown};
}

static ImpStatus push_unknown(const WordPiece *model, TokenList *out)
{
    if (model->unknown < 0) return imp_fail(IMP_ERR_FORMAT, "a word has no token, and the model has no unknown token");
    return token_list_push(out, model->unknown);
}

static size_t count_characters(const char *word, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i += utf8_width(word[i])) n++;
    return n;
}

/* The longest token at `start` that is not longer than the vocabulary's longest; -1 when none. `key` holds the prefix.
 */
static int32_t longest_token(const WordPiece *model, StrBuf *key, size_t prefix, const char *word, size_t start,
                             size_t *end)
{
    size_t limit = *end - start < model->longest ? *end : start + model->longest;
    while (limit > start && limit < *end && ((unsigned char)word[limit] & 0xC0) == 0x80) limit--;
    key->length = start > 0 ? prefix : 0;
    const size_t head = key->length;
    strbuf_append(key, word + start, limit - start);
    if (key->failed) return -1;
    for (; limit > start; limit = utf8_previous(word, limit)) {
        const int32_t id = vocab_lookup(model->vocab, key->data, head + limit - start);
        if (id >= 0) {
            *end = limit;
            return id;
        }
    }
    return -1;
}

ImpStatus wordpiece_encode(const WordPiece *model, const char *word, size_t length, TokenList *out)
{
    if (model->whole_words) {
        const int32_t id = vocab_lookup(model->vocab, word, length);
        return id >= 0 ? token_list_push(out, id) : push_unknown(model, out);
    }
    if (count_characters(word, length) > model->max_characters) return push_unknown(model, out);
    StrBuf key = {0};
    const size_t prefix = strlen(model->prefix), first = out->count;
    ImpStatus status = IMP_OK;
    for (size_t start = 0; start < length;) {
        strbuf_clear(&key);
        strbuf_append(&key, model->prefix, prefix);
        size_t end = length;
        const int32_t id = longest_token(model, &key, prefix, word, start, &end);
        IMP_GOTO(strbuf_check(&key));
        if (id < 0) {
            out->count = first; /* what has been found of the word does not count */
            IMP_GOTO(push_unknown(model, out));
            break;
        }
        IMP_GOTO(token_list_push(out, id));
        start = end;
    }
fail:
    strbuf_free(&key);
    return status;
}
