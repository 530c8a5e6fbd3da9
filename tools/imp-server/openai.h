/*
 * openai.h - what chat completions and completions share.
 */
#ifndef IMP_SERVER_OPENAI_H
#define IMP_SERVER_OPENAI_H

#include "stream.h"

/* "stop", "length", … of a finished job; "error" has no name in the dialect and becomes an error event instead. */
const char *openai_finish_reason(const Job *job);
/* {"prompt_tokens": …} of all choices of one prompt. */
json_t *openai_usage(const Stream *stream);
/* {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}. */
json_t *openai_chat_logprobs(const Server *server, const JobToken *tokens, size_t n_tokens);
/* {"tokens", "token_logprobs", "top_logprobs", "text_offset"} of completions; *offset moves on. */
json_t *openai_text_logprobs(const Server *server, const JobToken *tokens, size_t n_tokens, int64_t *offset);

/* The head that every chunk and answer has: id, object, created, model. */
json_t *openai_head(const Stream *stream, const char *object);

/* Streams in this dialect, of chat or text chunks as stream->chat says. */
extern const StreamFormat openai_stream_format;

/* The first job that failed, NULL: none did. */
const Job *first_failure(const Stream *stream);

/* The members of one choice that its route knows about. A new reference. */
typedef json_t *OpenaiChoice(const Stream *stream, const WholeAnswer *answer, bool want_logprobs);
/* Waits for all choices and answers with them as an `object` ("chat.completion", …). Takes the stream. */
enum MHD_Result openai_reply_whole(Stream *stream, const char *object, OpenaiChoice *make, bool want_logprobs);

#endif
