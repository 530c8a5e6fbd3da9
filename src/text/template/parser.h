/*
 * parser.h - what the two halves of the parser share: a cursor over tokens that fails as Jinja2's stream does.
 */
#ifndef IMP_TEXT_TEMPLATE_PARSER_H
#define IMP_TEXT_TEMPLATE_PARSER_H

#include "text/template/lexer.h"

enum { JINJA_MAX_TAG_DEPTH = 200 };

typedef struct JinjaParser {
    JinjaCompiler *compiler;
    const JinjaToken *tokens;
    size_t position;
    uint32_t depth; /* recursion */
    /* Open statements and the tags that end them, innermost last: for messages. */
    const JinjaToken *tags[JINJA_MAX_TAG_DEPTH];
    size_t n_tags;
    const char *const *ends[JINJA_MAX_TAG_DEPTH];
    size_t n_ends;
} JinjaParser;

static inline const JinjaToken *parser_token(const JinjaParser *parser) { return &parser->tokens[parser->position]; }
static inline bool parser_is(const JinjaParser *parser, JinjaTokenType type)
{
    return parser_token(parser)->type == type;
}
static inline bool parser_ok(const JinjaParser *parser) { return parser->compiler->status == IMP_OK; }

bool parser_is_name(const JinjaParser *parser, const char *name);
bool parser_token_is_name(const JinjaToken *token, const char *name);
/* Steps over the current token; fails when the next one is an error of the lexer. */
bool parser_advance(JinjaParser *parser);
/* The token after the current one; NULL after failing. */
const JinjaToken *parser_look(JinjaParser *parser);
bool parser_expect(JinjaParser *parser, JinjaTokenType type);
bool parser_expect_name(JinjaParser *parser, const char *name);
/* Steps over the token when it is the name. *skipped may be NULL. */
bool parser_skip_name(JinjaParser *parser, const char *name);
bool parser_fail(JinjaParser *parser, uint32_t line, const char *format, ...) IMP_PRINTF(3, 4);
/* A token for messages, quoted as Python's repr; in the template's arena. */
const char *parser_describe(JinjaParser *parser, const JinjaToken *token);
const char *parser_quote(JinjaParser *parser, const char *text, size_t length);

/* One more level of nesting; fails beyond the bound. Pair with parser_leave. */
bool parser_enter(JinjaParser *parser);
static inline void parser_leave(JinjaParser *parser) { parser->depth--; }

JinjaNode *parser_node(JinjaParser *parser, JinjaNodeType type, uint32_t line);
/* Sets the height of an expression over `child`; fails when it is too high. Children may be NULL. */
bool parser_raise_over(JinjaParser *parser, JinjaNode *node, const JinjaNode *child);

typedef struct JinjaNodeBuffer {
    JinjaNode **at;
    size_t n, capacity;
} JinjaNodeBuffer;
bool parser_push(JinjaParser *parser, JinjaNodeBuffer *buffer, JinjaNode *node);
/* The nodes moved to the arena, the buffer freed. */
bool parser_finish(JinjaParser *parser, JinjaNodeBuffer *buffer, JinjaNodes *out);
JinjaString *parser_string(JinjaParser *parser, const JinjaToken *token);

/* ---- expressions; NULL after failing ---- */

JinjaNode *parser_expression(JinjaParser *parser, bool with_condition);

typedef struct JinjaTupleRules {
    bool simplified; /* names and literals only: an assignment's target */
    bool with_condition;
    bool parentheses; /* an empty tuple is allowed */
    bool with_namespace;
} JinjaTupleRules;
JinjaNode *parser_tuple(JinjaParser *parser, JinjaTupleRules rules);
JinjaNode *parser_assign_target(JinjaParser *parser, bool with_namespace);
JinjaNode *parser_target_name(JinjaParser *parser);
/* `|name(…)|name…` behind `subject`; with start_inline the first name comes without a bar. */
JinjaNode *parser_filters(JinjaParser *parser, JinjaNode *subject, bool start_inline);

#endif
