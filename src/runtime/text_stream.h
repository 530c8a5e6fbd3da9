/*
 * text_stream.h - tokens in, text out: whole characters, nothing that may yet become a stop string.
 */
#ifndef IMP_RUNTIME_TEXT_STREAM_H
#define IMP_RUNTIME_TEXT_STREAM_H

#include "runtime/stop_strings.h"
#include "text/tokenizer/tokenizer.h"

typedef struct TextStream {
    Detokenizer *detokenizer; /* NULL without a tokenizer: no text comes out */
    StopMatcher matcher;
    StrBuf piece;
} TextStream;

/* The stop strings are the caller's and outlive the stream. `tokenizer` may be NULL. */
ImpStatus text_stream_open(TextStream *stream, const Tokenizer *tokenizer, bool keep_special, const char *const *stop,
                           int32_t n_stop);
void text_stream_close(TextStream *stream);

/* Appends what is certain after this token to `out`. *stop_index: the stop string that was found, -1 when none was;
 * nothing follows after one. */
ImpStatus text_stream_push(TextStream *stream, int32_t token, StrBuf *out, int32_t *stop_index);
/* The text has ended: appends what was held back, up to a stop string that shows only now. */
ImpStatus text_stream_finish(TextStream *stream, StrBuf *out, int32_t *stop_index);

#endif
