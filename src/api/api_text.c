/*
 * api_text.c - text and tokens without a model running.
 */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

ImpStatus imp_tokenize(ImpModel model, const char *text, size_t text_length, unsigned flags, int32_t *tokens,
                       size_t capacity, size_t *count)
{
    TokenList list = {0};
    ImpStatus status;
    unsigned internal = 0;
    if (count) *count = 0;
    API_REQUIRE(model);
    API_REQUIRE(text);
    if (!tokens && capacity > 0)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "tokens is NULL, but its capacity is %zu", capacity);
    if (flags & ~(unsigned)(IMP_TOKENIZE_ADD_SPECIAL | IMP_TOKENIZE_PARSE_SPECIAL))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "%#x has flags that imp_tokenize does not know", flags);
    if (flags & IMP_TOKENIZE_ADD_SPECIAL) internal |= TOKENIZE_ADD_SPECIAL;
    if (flags & IMP_TOKENIZE_PARSE_SPECIAL) internal |= TOKENIZE_PARSE_SPECIAL;
    IMP_TRY(api_need_tokenizer(model));
    if (text_length == IMP_NUL_TERMINATED) text_length = strlen(text);
    IMP_GOTO(tokenizer_encode(model->tokenizer, text, text_length, internal, &list));
    const size_t stored = list.count < capacity ? list.count : capacity;
    if (stored > 0) memcpy(tokens, list.ids, stored * sizeof *tokens);
    if (count) *count = list.count;
    if (list.count > capacity && tokens)
        status =
            imp_fail(IMP_ERR_BUFFER_TOO_SMALL, "the text has %zu tokens, the array room for %zu", list.count, capacity);
fail:
    token_list_free(&list);
    return status;
}

ImpStatus imp_detokenize(ImpModel model, const int32_t *tokens, size_t n_tokens, bool keep_special, char *buffer,
                         size_t size, size_t *length)
{
    StrBuf text = {0};
    ImpStatus status;
    if (length) *length = 0;
    API_REQUIRE(model);
    if (n_tokens > 0) API_REQUIRE(tokens);
    IMP_TRY(api_need_tokenizer(model));
    IMP_GOTO(tokenizer_decode(model->tokenizer, tokens, n_tokens, keep_special, &text));
    IMP_GOTO(strbuf_check(&text));
    status = api_copy_text(text.data, text.length, buffer, size, length);
fail:
    strbuf_free(&text);
    return status;
}

/* ---- Piece by piece ---- */

ImpStatus imp_detokenizer_create(ImpModel model, bool keep_special, ImpDetokenizer *stream)
{
    API_REQUIRE(stream);
    *stream = NULL;
    API_REQUIRE(model);
    IMP_TRY(api_need_tokenizer(model));
    ImpDetokenizer created = calloc(1, sizeof *created);
    if (!created) return imp_fail_memory(sizeof *created);
    created->model = api_model_keep(model);
    const ImpStatus status = detokenizer_create(model->tokenizer, keep_special, &created->stream);
    if (status != IMP_OK) {
        imp_detokenizer_free(created);
        return status;
    }
    *stream = created;
    return IMP_OK;
}

void imp_detokenizer_free(ImpDetokenizer stream)
{
    if (!stream) return;
    detokenizer_free(stream->stream);
    imp_model_free(stream->model);
    strbuf_free(&stream->text);
    free(stream);
}

static ImpStatus hand_out(ImpDetokenizer stream, const char **text, size_t *length)
{
    IMP_TRY(strbuf_check(&stream->text));
    *text = stream->text.data;
    if (length) *length = stream->text.length;
    return IMP_OK;
}

ImpStatus imp_detokenizer_push(ImpDetokenizer stream, int32_t token, const char **text, size_t *length)
{
    API_REQUIRE(stream);
    API_REQUIRE(text);
    strbuf_clear(&stream->text);
    IMP_TRY(detokenizer_push(stream->stream, token, &stream->text));
    return hand_out(stream, text, length);
}

ImpStatus imp_detokenizer_finish(ImpDetokenizer stream, const char **text, size_t *length)
{
    API_REQUIRE(stream);
    API_REQUIRE(text);
    strbuf_clear(&stream->text);
    IMP_TRY(detokenizer_finish(stream->stream, &stream->text));
    return hand_out(stream, text, length);
}

/* ---- The vocabulary ---- */

static bool in_vocabulary(ImpModel model, int32_t token)
{
    return model && model->tokenizer && token >= 0 && token < tokenizer_vocab_size(model->tokenizer);
}

bool imp_token_is_end(ImpModel model, int32_t token)
{
    return in_vocabulary(model, token) && tokenizer_is_end(model->tokenizer, token);
}

bool imp_token_is_special(ImpModel model, int32_t token)
{
    return in_vocabulary(model, token) && tokenizer_is_special(model->tokenizer, token);
}

const char *imp_token_bytes(ImpModel model, int32_t token, size_t *length)
{
    size_t n_bytes = 0;
    const char *bytes = NULL;
    if (in_vocabulary(model, token)) bytes = tokenizer_token_bytes(model->tokenizer, token, &n_bytes);
    if (n_bytes == 0) return imp_token_text(model, token, length);
    if (length) *length = n_bytes;
    return bytes;
}

const char *imp_token_text(ImpModel model, int32_t token, size_t *length)
{
    size_t text_length = 0;
    const char *text = NULL;
    if (in_vocabulary(model, token)) text = tokenizer_token_text(model->tokenizer, token, &text_length);
    if (length) *length = text_length;
    return text;
}
