/*
 * tool_ways.h - how the model's chat template takes earlier calls of tools and their results, found out by trying.
 */
#ifndef IMP_SERVER_TOOL_WAYS_H
#define IMP_SERVER_TOOL_WAYS_H

#include "server.h"

typedef struct ToolWays {
    bool arguments_as_text;     /* rather than as an object */
    bool content_is_null;       /* of a message with calls and no words; otherwise an empty string */
    bool takes_text;            /* arguments that are no JSON can stand as they are */
    bool one_call;              /* a message may have only one */
    bool no_user_behind_result; /* the assistant has to speak first */
} ToolWays;

/* Tried once a server. */
ToolWays tool_ways_of(Server *server);

#endif
