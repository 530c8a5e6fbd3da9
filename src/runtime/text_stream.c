/* text_stream.c - the detokenizer holds back unfinished characters, the matcher what may become a stop string. */
#include "runtime/text_stream.h"

ImpStatus text_stream_open(TextStream *stream, const Tokenizer *tokenizer, bool keep_special, const char *const *stop,
                           int32_t n_stop)
{
    *stream = (TextStream){0};
    IMP_TRY(stop_matcher_init(&stream->matcher, stop, n_stop));
    return tokenizer != NULL ? detokenizer_create(tokenizer, keep_special, &stream->detokenizer) : IMP_OK;
}

void text_stream_close(TextStream *stream)
{
    stop_matcher_free(&stream->matcher);
    detokenizer_free(stream->detokenizer);
    strbuf_free(&stream->piece);
    *stream = (TextStream){0};
}

static int32_t match(TextStream *stream, StrBuf *out)
{
    return stream->piece.length == 0
               ? -1
               : stop_matcher_push(&stream->matcher, stream->piece.data, stream->piece.length, out);
}

ImpStatus text_stream_push(TextStream *stream, int32_t token, StrBuf *out, int32_t *stop_index)
{
    *stop_index = -1;
    if (stream->detokenizer == NULL) return IMP_OK;
    strbuf_clear(&stream->piece);
    IMP_TRY(detokenizer_push(stream->detokenizer, token, &stream->piece));
    *stop_index = match(stream, out);
    return strbuf_check(out);
}

ImpStatus text_stream_finish(TextStream *stream, StrBuf *out, int32_t *stop_index)
{
    *stop_index = -1;
    if (stream->detokenizer == NULL) return IMP_OK;
    strbuf_clear(&stream->piece);
    IMP_TRY(detokenizer_finish(stream->detokenizer, &stream->piece));
    *stop_index = match(stream, out);
    if (*stop_index < 0) stop_matcher_finish(&stream->matcher, out);
    return strbuf_check(out);
}
