/*
 * prompt.h - what a request says becomes tokens.
 */
#ifndef IMP_SERVER_PROMPT_H
#define IMP_SERVER_PROMPT_H

#include "fields.h"
#include "server.h"

typedef struct Prompt {
    int32_t *tokens;
    int32_t n_tokens;
    char *text; /* NULL when the request gave ids */
    size_t text_length;
    bool is_chat;          /* it came from a template: its answer may begin with reasoning */
    bool inside_reasoning; /* the template has opened the block */
    int32_t n_pinned;      /* leading tokens that are to be pinned; 0: none */
    double pin_seconds;
} Prompt;

void prompt_free(Prompt *prompt);

/* Text as it stands: BOS where the model adds it. */
ImpStatus prompt_from_text(Server *server, const char *text, size_t length, Prompt *out);
/* A JSON array of ids; the error goes to `fields` under `name`. */
void prompt_from_ids(Server *server, Fields *fields, const char *name, const json_t *ids, Prompt *out);
/* Messages in OpenAI's shape through the chat template: {"messages": …, "tools": …, and whatever else the template
 * wants}. Takes no reference. */
ImpStatus prompt_from_chat(Server *server, const json_t *variables, Prompt *out);

/* OpenAI's messages as templates want them: parts of text joined, tool arguments parsed, roles and shapes checked. A
 * new reference; NULL with the error in `fields`. */
json_t *openai_messages(Fields *fields);
/* Anthropic's system and messages in OpenAI's shape. */
json_t *anthropic_messages(Fields *fields);

#endif
