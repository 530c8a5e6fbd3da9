/*
 * stream.h - an answer as server-sent events, whatever the dialect.
 */
#ifndef IMP_SERVER_STREAM_H
#define IMP_SERVER_STREAM_H

#include "job.h"
#include "params.h"
#include "prompt.h"

typedef struct Stream Stream;

/* What a dialect writes into stream->out. */
typedef struct StreamFormat {
    void (*begin)(Stream *stream);
    /* Text of one kind; never empty. */
    void (*piece)(Stream *stream, int32_t choice, bool is_reasoning, const char *text, size_t length);
    /* Probabilities of tokens whose text may come with them or later. */
    void (*tokens)(Stream *stream, int32_t choice, const JobToken *tokens, size_t n_tokens);
    /* A call begins; its arguments follow as JSON text, never empty. NULL where answers hold no calls. */
    void (*call)(Stream *stream, int32_t choice, const ImpToolEvent *event);
    void (*arguments)(Stream *stream, int32_t choice, const ImpToolEvent *event);
    void (*choice_end)(Stream *stream, int32_t choice);
    void (*end)(Stream *stream);
    const char *ping;
} StreamFormat;

/* Everything of one choice at once, for answers that are no streams: text and reasoning as one string each. */
typedef struct WholeAnswer {
    Bytes text, reasoning;
    json_t *calls;   /* [{"id", "type": "function", "function": {"name", "arguments": text}}] */
    Bytes arguments; /* of the call at hand */
    JobToken *tokens;
    size_t n_tokens;
} WholeAnswer;

/* Where what one choice says goes. */
typedef struct AnswerTarget {
    Stream *stream;
    int32_t choice;
    ImpToolReader reader; /* NULL: text is text */
    WholeAnswer *whole;   /* NULL: it is streamed */
} AnswerTarget;

struct Stream {
    const StreamFormat *format;
    Server *server;
    Exchange *exchange; /* held */
    time_t created;
    Bytes out;
    size_t sent; /* of out */
    bool begun, ended;
    Job jobs[MAX_CHOICES];
    int32_t n_jobs, n_ended;
    bool ended_choice[MAX_CHOICES];
    JobGroup group;
    int peer;
    bool include_usage;
    bool chat;                        /* chat.completion.chunk rather than text_completion */
    Bytes head;                       /* OpenAI: what every chunk with text begins with */
    int64_t text_offset[MAX_CHOICES]; /* completions: of the next token, in bytes */
    int open_block;                   /* Anthropic: 0 none, 1 thinking, 2 text */
    int32_t block_index;
    char *log_prompt;         /* NULL: not logged */
    ImpConstraint constraint; /* of all jobs; NULL: none */
    ImpTools tools;           /* read calls out of the answers; NULL: there are none to read */
    bool single_call;         /* of several calls only the first counts */
    AnswerTarget targets[MAX_CHOICES];
};

/* An empty stream of an exchange; NULL without memory. */
Stream *stream_create(Exchange *exchange, const StreamFormat *format);
/* Closes its jobs. */
void stream_free(Stream *stream);

/* Makes the constraint and the tools of the parameters the stream's, so that they live as long as the jobs. */
void stream_take_parts(Stream *stream, RequestParams *params);

/* Submits one job a choice. On failure the stream's jobs are closed by stream_free. */
ImpStatus stream_submit(Stream *stream, const RequestParams *params, const Prompt *prompt, bool want_logprobs,
                        int32_t n_top_logprobs);

/* Queues the events as the answer; takes the stream. */
enum MHD_Result stream_reply(Stream *stream);

/* data: {…} and, with a name, event: before it. Takes the reference. */
void stream_event(Stream *stream, const char *name, json_t *data);

/* Waits for all jobs; false when the client has gone. */
bool stream_wait(Stream *stream);
/* After stream_wait. False without memory. */
bool stream_collect(Stream *stream, int32_t choice, WholeAnswer *out);
void whole_answer_free(WholeAnswer *answer);

#endif
