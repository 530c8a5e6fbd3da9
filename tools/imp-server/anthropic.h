/*
 * anthropic.h - what the files of Anthropic's dialect share.
 */
#ifndef IMP_SERVER_ANTHROPIC_H
#define IMP_SERVER_ANTHROPIC_H

#include "stream.h"

/* The body's system, messages and tools through the chat template. */
ImpStatus anthropic_prompt(Server *server, Fields *fields, const RequestParams *params, Prompt *out);

/* cache_control: how much of `prompt`, which the same body gave, is to be pinned and for how long. */
void anthropic_read_pin(Exchange *exchange, Fields *fields, const RequestParams *params, Prompt *prompt);

#endif
