/* detokenizer.c - ids to text, all at once or as they come: the same chain of decoder steps serves both. */
#include "text/tokenizer/tokenizer_internal.h"

#include <stdlib.h>

struct Detokenizer {
    const Tokenizer *tokenizer;
    bool keep_special;
    DecodeRun run;
};

static ImpStatus push_id(const Tokenizer *tokenizer, DecodeRun *run, int32_t id, bool keep_special)
{
    if (id < 0 || id >= tokenizer->vocab.count || tokenizer->vocab.tokens[id].text == NULL) {
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "token id %d is not in the vocabulary", (int)id);
    }
    const VocabToken *token = &tokenizer->vocab.tokens[id];
    const bool renamed = (token->flags & VOCAB_RENAMED) != 0; /* and no special token by its new name */
    if (!renamed && !keep_special && (token->flags & VOCAB_SPECIAL) != 0) return IMP_OK;
    if (renamed || (token->flags & VOCAB_SHARED) != 0) {
        const AddedToken *added = added_tokens_find(&tokenizer->added, id);
        return decode_push(run, added->content, added->length);
    }
    return decode_push(run, token->text, token->text_length);
}

ImpStatus tokenizer_decode(const Tokenizer *tokenizer, const int32_t *ids, size_t count, bool keep_special, StrBuf *out)
{
    DecodeRun run = {.decoder = &tokenizer->decoder, .out = out};
    ImpStatus status = IMP_OK;
    for (size_t i = 0; i < count && status == IMP_OK; i++) status = push_id(tokenizer, &run, ids[i], keep_special);
    if (status == IMP_OK) status = decode_finish(&run);
    decode_run_free(&run);
    return status == IMP_OK ? strbuf_check(out) : status;
}

ImpStatus detokenizer_create(const Tokenizer *tokenizer, bool keep_special, Detokenizer **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return imp_fail_memory(sizeof **out);
    **out =
        (Detokenizer){.tokenizer = tokenizer, .keep_special = keep_special, .run = {.decoder = &tokenizer->decoder}};
    return IMP_OK;
}

void detokenizer_free(Detokenizer *stream)
{
    if (stream == NULL) return;
    decode_run_free(&stream->run);
    free(stream);
}

ImpStatus detokenizer_push(Detokenizer *stream, int32_t id, StrBuf *out)
{
    stream->run.out = out;
    IMP_TRY(push_id(stream->tokenizer, &stream->run, id, stream->keep_special));
    return strbuf_check(out);
}

ImpStatus detokenizer_finish(Detokenizer *stream, StrBuf *out)
{
    stream->run.out = out;
    IMP_TRY(decode_finish(&stream->run));
    return strbuf_check(out);
}
