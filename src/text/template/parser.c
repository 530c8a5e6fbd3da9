/*
 * parser.c - statements, and the token cursor that both halves of the parser use.
 *
 * The grammar and the messages are Jinja2's. include, import and extends are parsed, since a template may carry one in
 * a branch it never takes; running one fails, because there is nothing to load.
 */
#include "text/template/parser.h"
#include "text/template/unicode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the cursor ---- */

bool parser_token_is_name(const JinjaToken *token, const char *name)
{
    return token->type == TOKEN_NAME && strlen(name) == token->length && memcmp(token->text, name, token->length) == 0;
}

bool parser_is_name(const JinjaParser *parser, const char *name)
{
    return parser_token_is_name(parser_token(parser), name);
}

bool parser_fail(JinjaParser *parser, uint32_t line, const char *format, ...)
{
    char message[900];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return jinja_compile_fail(parser->compiler, line, "%s", message);
}

static bool check_token(JinjaParser *parser, const JinjaToken *token)
{
    if (token->type != TOKEN_ERROR) return true;
    return parser_fail(parser, token->line, "%.*s", (int)token->length, token->text);
}

/* Nothing follows the end, nor the lexer's error, which may be stepped onto while a failure is on its way out. */
static bool at_last_token(const JinjaParser *parser)
{
    return parser_is(parser, TOKEN_EOF) || parser_is(parser, TOKEN_ERROR);
}

bool parser_advance(JinjaParser *parser)
{
    if (!at_last_token(parser)) parser->position++;
    return check_token(parser, parser_token(parser)) && parser_ok(parser);
}

const JinjaToken *parser_look(JinjaParser *parser)
{
    const JinjaToken *token = parser_token(parser) + !at_last_token(parser);
    return check_token(parser, token) ? token : NULL;
}

const char *parser_quote(JinjaParser *parser, const char *text, size_t length)
{
    char *quoted = jinja_compile_alloc(parser->compiler, length + 3, 1);
    if (quoted == NULL) return "?";
    const char mark = memchr(text, '\'', length) != NULL ? '"' : '\'';
    quoted[0] = mark;
    memcpy(quoted + 1, text, length);
    quoted[length + 1] = mark;
    return quoted;
}

const char *parser_describe(JinjaParser *parser, const JinjaToken *token)
{
    if (token->type == TOKEN_NAME) return parser_quote(parser, token->text, token->length);
    const char *text = jinja_token_description(token->type);
    return parser_quote(parser, text, strlen(text));
}

static bool expect_failed(JinjaParser *parser, const char *expected)
{
    const JinjaToken *token = parser_token(parser);
    const char *quoted = parser_quote(parser, expected, strlen(expected));
    if (token->type == TOKEN_EOF) {
        return parser_fail(parser, token->line, "unexpected end of template, expected %s.", quoted);
    }
    return parser_fail(parser, token->line, "expected token %s, got %s", quoted, parser_describe(parser, token));
}

bool parser_expect(JinjaParser *parser, JinjaTokenType type)
{
    if (!parser_is(parser, type)) return expect_failed(parser, jinja_token_description(type));
    return parser_advance(parser);
}

bool parser_expect_name(JinjaParser *parser, const char *name)
{
    if (!parser_is_name(parser, name)) return expect_failed(parser, name);
    return parser_advance(parser);
}

bool parser_skip_name(JinjaParser *parser, const char *name)
{
    return parser_is_name(parser, name) && parser_advance(parser);
}

bool parser_enter(JinjaParser *parser)
{
    if (++parser->depth <= JINJA_MAX_HEIGHT) return true;
    return parser_fail(parser, parser_token(parser)->line, "the template is nested deeper than %d", JINJA_MAX_HEIGHT);
}

JinjaNode *parser_node(JinjaParser *parser, JinjaNodeType type, uint32_t line)
{
    JinjaNode *node = jinja_compile_alloc(parser->compiler, 1, sizeof *node);
    if (node == NULL) return NULL;
    node->type = type;
    node->line = line;
    node->height = 1;
    return node;
}

bool parser_raise_over(JinjaParser *parser, JinjaNode *node, const JinjaNode *child)
{
    if (child == NULL || child->height < node->height) return true;
    if (child->height >= JINJA_MAX_HEIGHT) {
        return parser_fail(parser, node->line, "an expression is nested deeper than %d", JINJA_MAX_HEIGHT);
    }
    node->height = (uint16_t)(child->height + 1);
    return true;
}

bool parser_push(JinjaParser *parser, JinjaNodeBuffer *buffer, JinjaNode *node)
{
    if (node == NULL) return false;
    if (buffer->n == buffer->capacity) {
        const size_t capacity = buffer->capacity == 0 ? 8 : buffer->capacity * 2;
        JinjaNode **grown = realloc(buffer->at, capacity * sizeof(JinjaNode *));
        if (grown == NULL) {
            parser->compiler->status = imp_fail_memory(capacity * sizeof(JinjaNode *));
            return false;
        }
        buffer->at = grown;
        buffer->capacity = capacity;
    }
    buffer->at[buffer->n++] = node;
    return true;
}

bool parser_finish(JinjaParser *parser, JinjaNodeBuffer *buffer, JinjaNodes *out)
{
    *out = (JinjaNodes){.at = jinja_compile_alloc(parser->compiler, buffer->n, sizeof(JinjaNode *))};
    if (out->at != NULL) {
        out->n = buffer->n;
        if (buffer->n > 0) memcpy(out->at, buffer->at, buffer->n * sizeof(JinjaNode *));
    }
    free(buffer->at);
    *buffer = (JinjaNodeBuffer){0};
    return out->at != NULL;
}

JinjaString *parser_string(JinjaParser *parser, const JinjaToken *token)
{
    return jinja_compile_string(parser->compiler, token->text, token->length);
}

/* ---- unknown tags and early ends ---- */

static void append(char *message, size_t capacity, size_t *at, const char *format, ...) IMP_PRINTF(4, 5);
static void append(char *message, size_t capacity, size_t *at, const char *format, ...)
{
    if (*at >= capacity) return;
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(message + *at, capacity - *at, format, arguments);
    va_end(arguments);
    if (n > 0) *at += (size_t)n;
}

static bool is_expected_somewhere(const JinjaParser *parser, const JinjaToken *tag)
{
    for (size_t i = 0; i < parser->n_ends; i++) {
        for (const char *const *end = parser->ends[i]; *end != NULL; end++) {
            if (parser_token_is_name(tag, *end)) return true;
        }
    }
    return false;
}

/* `tag` is the unknown one, or NULL at the end of the template. */
static bool fail_tag(JinjaParser *parser, const JinjaToken *tag)
{
    char message[800], looking[200] = "";
    size_t at = 0, looking_at = 0;
    if (parser->n_ends > 0) {
        for (const char *const *end = parser->ends[parser->n_ends - 1]; *end != NULL; end++) {
            append(looking, sizeof looking, &looking_at, "%s'%s'", looking_at > 0 ? " or " : "", *end);
        }
    }
    if (tag == NULL) {
        append(message, sizeof message, &at, "Unexpected end of template.");
    } else {
        append(message, sizeof message, &at, "Encountered unknown tag %s.",
               parser_quote(parser, tag->text, tag->length));
    }
    if (looking_at > 0 && tag != NULL && is_expected_somewhere(parser, tag)) {
        append(message, sizeof message, &at,
               " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for %s.",
               looking);
    } else if (looking_at > 0) {
        append(message, sizeof message, &at, " Jinja was looking for the following tags: %s.", looking);
    }
    if (parser->n_tags > 0) {
        const JinjaToken *open = parser->tags[parser->n_tags - 1];
        append(message, sizeof message, &at, " The innermost block that needs to be closed is %s.",
               parser_quote(parser, open->text, open->length));
    }
    return parser_fail(parser, tag == NULL ? parser_token(parser)->line : tag->line, "%s", message);
}

/* ---- bodies ---- */

static bool parse_statement(JinjaParser *parser, JinjaNodeBuffer *body);

static bool at_end_name(const JinjaParser *parser, const char *const *ends)
{
    for (; ends != NULL && *ends != NULL; ends++) {
        if (parser_is_name(parser, *ends)) return true;
    }
    return false;
}

static bool flush_output(JinjaParser *parser, JinjaNodeBuffer *output, JinjaNodeBuffer *body)
{
    if (output->n == 0) return true;
    JinjaNode *node = parser_node(parser, NODE_OUTPUT, output->at[0]->line);
    JinjaNodes items;
    if (!parser_finish(parser, output, &items) || node == NULL) return false;
    node->items = items;
    return parser_push(parser, body, node);
}

static bool parse_data(JinjaParser *parser, JinjaNodeBuffer *output)
{
    const JinjaToken *token = parser_token(parser);
    if (token->length > 0) {
        JinjaNode *node = parser_node(parser, NODE_CONST, token->line);
        JinjaString *string = parser_string(parser, token);
        if (node == NULL || string == NULL) return false;
        node->constant = (JinjaValue){.kind = JINJA_STRING, .tag = JINJA_TEMPLATE_DATA, .string = string};
        if (!parser_push(parser, output, node)) return false;
    }
    return parser_advance(parser);
}

static bool parse_print(JinjaParser *parser, JinjaNodeBuffer *output)
{
    if (!parser_advance(parser)) return false;
    JinjaNode *node = parser_tuple(parser, (JinjaTupleRules){.with_condition = true});
    return node != NULL && parser_push(parser, output, node) && parser_expect(parser, TOKEN_VARIABLE_END);
}

/* Until one of the end tags, which stays the current token, or the end of the template. */
static bool parse_until(JinjaParser *parser, const char *const *ends, JinjaNodeBuffer *output, JinjaNodeBuffer *body)
{
    while (!parser_is(parser, TOKEN_EOF)) {
        if (parser_is(parser, TOKEN_DATA)) {
            if (!parse_data(parser, output)) return false;
        } else if (parser_is(parser, TOKEN_VARIABLE_BEGIN)) {
            if (!parse_print(parser, output)) return false;
        } else {
            if (!flush_output(parser, output, body) || !parser_advance(parser)) return false;
            if (at_end_name(parser, ends)) return true;
            if (!parse_statement(parser, body) || !parser_expect(parser, TOKEN_BLOCK_END)) return false;
        }
    }
    return flush_output(parser, output, body);
}

static bool parse_body(JinjaParser *parser, const char *const *ends, JinjaNodes *out)
{
    if (ends != NULL) {
        if (parser->n_ends == JINJA_MAX_TAG_DEPTH) {
            return parser_fail(parser, parser_token(parser)->line, "tags are nested deeper than %d",
                               JINJA_MAX_TAG_DEPTH);
        }
        parser->ends[parser->n_ends++] = ends;
    }
    JinjaNodeBuffer output = {0}, body = {0};
    const bool ok = parse_until(parser, ends, &output, &body);
    if (ends != NULL && ok && parser_is(parser, TOKEN_EOF)) (void)fail_tag(parser, NULL);
    if (ends != NULL) parser->n_ends--;
    JinjaNodes unused;
    const bool freed = parser_finish(parser, &output, &unused);
    return parser_finish(parser, &body, out) && freed && ok && parser_ok(parser);
}

/* The body of a statement behind its tag. With `drop` the end tag's name is stepped over. */
static bool parse_statements(JinjaParser *parser, const char *const *ends, bool drop, JinjaNodes *out)
{
    if (parser_is(parser, TOKEN_COLON) && !parser_advance(parser)) return false;
    if (!parser_expect(parser, TOKEN_BLOCK_END) || !parse_body(parser, ends, out)) return false;
    return !drop || parser_advance(parser);
}

/* ---- statements: each starts at its tag's name and stops before its block end ---- */

static JinjaNode *start_statement(JinjaParser *parser, JinjaNodeType type)
{
    JinjaNode *node = parser_node(parser, type, parser_token(parser)->line);
    return node != NULL && parser_advance(parser) ? node : NULL;
}

static JinjaNode *parse_for(JinjaParser *parser)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const else_ends[] = {"endfor", NULL};
    JinjaNode *node = start_statement(parser, NODE_FOR);
    if (node == NULL) return NULL;
    node->loop.target = parser_assign_target(parser, false);
    if (node->loop.target == NULL || !parser_expect_name(parser, "in")) return NULL;
    node->loop.iterable = parser_tuple(parser, (JinjaTupleRules){0});
    if (node->loop.iterable == NULL) return NULL;
    if (parser_skip_name(parser, "if")) {
        node->loop.test = parser_expression(parser, true);
        if (node->loop.test == NULL) return NULL;
    }
    node->loop.recursive = parser_skip_name(parser, "recursive");
    if (!parser_ok(parser) || !parse_statements(parser, ends, false, &node->loop.body)) return NULL;
    if (parser_skip_name(parser, "endfor")) return node;
    node->loop.has_otherwise = true;
    return parser_advance(parser) && parse_statements(parser, else_ends, true, &node->loop.otherwise) ? node : NULL;
}

static JinjaNode *parse_if(JinjaParser *parser)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const else_ends[] = {"endif", NULL};
    JinjaNode *first = start_statement(parser, NODE_IF), *node = first;
    JinjaNodeBuffer elifs = {0};
    bool ok = first != NULL;
    while (ok) {
        node->branch.test = parser_tuple(parser, (JinjaTupleRules){0});
        ok = node->branch.test != NULL && parse_statements(parser, ends, false, &node->branch.body);
        if (!ok || !parser_skip_name(parser, "elif")) break;
        node = parser_node(parser, NODE_IF, parser_token(parser)->line);
        ok = parser_push(parser, &elifs, node);
    }
    if (ok && parser_skip_name(parser, "else")) {
        ok = parse_statements(parser, else_ends, true, &first->branch.otherwise);
    } else if (ok) {
        ok = parser_advance(parser);
    }
    JinjaNodes elif_nodes;
    if (!parser_finish(parser, &elifs, &elif_nodes) || !ok) return NULL;
    first->branch.elifs = elif_nodes;
    return first;
}

static JinjaNode *parse_set(JinjaParser *parser)
{
    static const char *const ends[] = {"endset", NULL};
    JinjaNode *node = start_statement(parser, NODE_SET);
    if (node == NULL) return NULL;
    node->set.target = parser_assign_target(parser, true);
    if (node->set.target == NULL) return NULL;
    if (parser_is(parser, TOKEN_ASSIGN)) {
        if (!parser_advance(parser)) return NULL;
        node->set.value = parser_tuple(parser, (JinjaTupleRules){.with_condition = true});
        return node->set.value == NULL ? NULL : node;
    }
    node->type = NODE_SET_BLOCK;
    node->set.filter = parser_filters(parser, NULL, false);
    if (!parser_ok(parser) || !parse_statements(parser, ends, true, &node->set.body)) return NULL;
    return node;
}

static bool parse_with_targets(JinjaParser *parser, JinjaNodeBuffer *targets, JinjaNodeBuffer *values)
{
    while (!parser_is(parser, TOKEN_BLOCK_END)) {
        if (targets->n > 0 && !parser_expect(parser, TOKEN_COMMA)) return false;
        JinjaNode *target = parser_assign_target(parser, false);
        if (target == NULL || !parser_push(parser, targets, target) || !parser_expect(parser, TOKEN_ASSIGN))
            return false;
        JinjaNode *value = parser_expression(parser, true);
        if (value == NULL || !parser_push(parser, values, value)) return false;
    }
    return true;
}

static JinjaNode *parse_with(JinjaParser *parser)
{
    static const char *const ends[] = {"endwith", NULL};
    JinjaNode *node = start_statement(parser, NODE_WITH);
    JinjaNodeBuffer targets = {0}, values = {0};
    bool ok = node != NULL && parse_with_targets(parser, &targets, &values);
    JinjaNodes target_nodes, value_nodes;
    ok = parser_finish(parser, &targets, &target_nodes) && ok;
    ok = parser_finish(parser, &values, &value_nodes) && ok;
    if (!ok) return NULL;
    node->with.targets = target_nodes;
    node->with.values = value_nodes;
    return parse_statements(parser, ends, true, &node->with.body) ? node : NULL;
}

static bool parse_parameters(JinjaParser *parser, JinjaNodeBuffer *parameters, JinjaNodeBuffer *defaults)
{
    if (!parser_expect(parser, TOKEN_LPAREN)) return false;
    while (!parser_is(parser, TOKEN_RPAREN)) {
        if (parameters->n > 0 && !parser_expect(parser, TOKEN_COMMA)) return false;
        JinjaNode *parameter = parser_target_name(parser);
        if (parameter == NULL) return false;
        if (parser_is(parser, TOKEN_ASSIGN)) {
            if (!parser_advance(parser)) return false;
            JinjaNode *value = parser_expression(parser, true);
            if (value == NULL || !parser_push(parser, defaults, value)) return false;
        } else if (defaults->n > 0) {
            return parser_fail(parser, parser_token(parser)->line, "non-default argument follows default argument");
        }
        if (!parser_push(parser, parameters, parameter)) return false;
    }
    return parser_expect(parser, TOKEN_RPAREN);
}

static bool parse_signature(JinjaParser *parser, JinjaFunctionNode *function)
{
    JinjaNodeBuffer parameters = {0}, defaults = {0};
    bool ok = parse_parameters(parser, &parameters, &defaults);
    ok = parser_finish(parser, &parameters, &function->parameters) && ok;
    return parser_finish(parser, &defaults, &function->defaults) && ok;
}

static JinjaFunctionNode *make_function(JinjaParser *parser)
{
    return jinja_compile_alloc(parser->compiler, 1, sizeof(JinjaFunctionNode));
}

static JinjaNode *parse_macro(JinjaParser *parser)
{
    static const char *const ends[] = {"endmacro", NULL};
    JinjaNode *node = start_statement(parser, NODE_MACRO);
    JinjaFunctionNode *function = make_function(parser);
    if (node == NULL || function == NULL) return NULL;
    node->function = function;
    JinjaNode *name = parser_target_name(parser);
    if (name == NULL || !parse_signature(parser, function)) return NULL;
    function->name = name->name.name;
    return parse_statements(parser, ends, true, &function->body) ? node : NULL;
}

static JinjaNode *parse_call_block(JinjaParser *parser)
{
    static const char *const ends[] = {"endcall", NULL};
    JinjaNode *node = start_statement(parser, NODE_CALL_BLOCK);
    JinjaFunctionNode *function = make_function(parser);
    if (node == NULL || function == NULL) return NULL;
    node->call_block.function = function;
    if (parser_is(parser, TOKEN_LPAREN) && !parse_signature(parser, function)) return NULL;
    node->call_block.call = parser_expression(parser, true);
    if (node->call_block.call == NULL) return NULL;
    if (node->call_block.call->type != NODE_CALL) {
        (void)parser_fail(parser, node->line, "expected call");
        return NULL;
    }
    return parse_statements(parser, ends, true, &function->body) ? node : NULL;
}

static JinjaNode *parse_generation(JinjaParser *parser)
{
    static const char *const ends[] = {"endgeneration", NULL};
    JinjaNode *node = start_statement(parser, NODE_GENERATION);
    JinjaFunctionNode *function = make_function(parser);
    if (node == NULL || function == NULL) return NULL;
    node->function = function;
    return parse_statements(parser, ends, true, &function->body) ? node : NULL;
}

static JinjaNode *parse_filter_block(JinjaParser *parser)
{
    static const char *const ends[] = {"endfilter", NULL};
    JinjaNode *node = start_statement(parser, NODE_FILTER_BLOCK);
    if (node == NULL) return NULL;
    node->filter_block.filter = parser_filters(parser, NULL, true);
    if (node->filter_block.filter == NULL) return NULL;
    return parse_statements(parser, ends, true, &node->filter_block.body) ? node : NULL;
}

static JinjaNode *parse_autoescape(JinjaParser *parser)
{
    static const char *const ends[] = {"endautoescape", NULL};
    JinjaNode *node = start_statement(parser, NODE_AUTOESCAPE);
    if (node == NULL) return NULL;
    node->autoescape.value = parser_expression(parser, true);
    if (node->autoescape.value == NULL) return NULL;
    return parse_statements(parser, ends, true, &node->autoescape.body) ? node : NULL;
}

/* A required block holds nothing but white space and comments. */
static bool is_blank(const JinjaNodes *body)
{
    for (size_t i = 0; i < body->n; i++) {
        if (body->at[i]->type != NODE_OUTPUT) return false;
        for (size_t j = 0; j < body->at[i]->items.n; j++) {
            const JinjaNode *item = body->at[i]->items.at[j];
            if (item->type != NODE_CONST || item->constant.kind != JINJA_STRING) return false;
            const JinjaString *text = item->constant.string;
            for (size_t k = 0, width; k < text->length; k += width) {
                if (!unicode_is_space(unicode_decode(text->data + k, text->data + text->length, &width))) return false;
            }
        }
    }
    return true;
}

static JinjaNode *parse_block(JinjaParser *parser)
{
    static const char *const ends[] = {"endblock", NULL};
    JinjaNode *node = start_statement(parser, NODE_BLOCK);
    if (node == NULL) return NULL;
    const JinjaToken *name = parser_token(parser);
    if (!parser_expect(parser, TOKEN_NAME)) return NULL;
    node->block.name = parser_string(parser, name);
    (void)parser_skip_name(parser, "scoped");
    node->block.required = parser_skip_name(parser, "required");
    if (node->block.name == NULL || !parser_ok(parser)) return NULL;
    if (parser_is(parser, TOKEN_SUB)) {
        (void)parser_fail(
            parser, parser_token(parser)->line,
            "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an "
            "underscore instead.");
        return NULL;
    }
    if (!parse_statements(parser, ends, true, &node->block.body)) return NULL;
    if (node->block.required && !is_blank(&node->block.body)) {
        (void)parser_fail(parser, parser_token(parser)->line,
                          "Required blocks can only contain comments or whitespace");
        return NULL;
    }
    if (parser_token(parser)->type == TOKEN_NAME && parser_token(parser)->length == name->length &&
        memcmp(parser_token(parser)->text, name->text, name->length) == 0 && !parser_advance(parser)) {
        return NULL;
    }
    return node;
}

/* {% print a, b %} */
static JinjaNode *parse_print_tag(JinjaParser *parser)
{
    JinjaNode *node = start_statement(parser, NODE_OUTPUT);
    JinjaNodeBuffer buffer = {0};
    bool ok = node != NULL;
    while (ok && !parser_is(parser, TOKEN_BLOCK_END)) {
        ok = (buffer.n == 0 || parser_expect(parser, TOKEN_COMMA)) &&
             parser_push(parser, &buffer, parser_expression(parser, true));
    }
    JinjaNodes items;
    if (!parser_finish(parser, &buffer, &items) || !ok) return NULL;
    node->items = items;
    return node;
}

/* with context, without context */
static bool skip_context(JinjaParser *parser)
{
    if (!parser_is_name(parser, "with") && !parser_is_name(parser, "without")) return true;
    const JinjaToken *next = parser_look(parser);
    if (next == NULL) return false;
    return !parser_token_is_name(next, "context") || (parser_advance(parser) && parser_advance(parser));
}

static JinjaNode *parse_load(JinjaParser *parser)
{
    JinjaNode *node = start_statement(parser, NODE_LOAD_TEMPLATE);
    if (node == NULL) return NULL;
    node->load_template.source = parser_expression(parser, true);
    return node->load_template.source == NULL ? NULL : node;
}

static JinjaNode *parse_include(JinjaParser *parser)
{
    JinjaNode *node = parse_load(parser);
    if (node == NULL) return NULL;
    if (parser_is_name(parser, "ignore")) {
        const JinjaToken *next = parser_look(parser);
        if (next == NULL) return NULL;
        if (parser_token_is_name(next, "missing") && !(parser_advance(parser) && parser_advance(parser))) return NULL;
    }
    return skip_context(parser) ? node : NULL;
}

static JinjaNode *parse_import(JinjaParser *parser)
{
    JinjaNode *node = parse_load(parser);
    if (node == NULL || !parser_expect_name(parser, "as") || parser_target_name(parser) == NULL) return NULL;
    return skip_context(parser) ? node : NULL;
}

static JinjaNode *parse_from(JinjaParser *parser)
{
    JinjaNode *node = parse_load(parser);
    if (node == NULL || !parser_expect_name(parser, "import")) return NULL;
    for (bool first = true;; first = false) {
        if (!first && !parser_expect(parser, TOKEN_COMMA)) return NULL;
        const size_t before = parser->position;
        if (!skip_context(parser)) return NULL;
        if (parser->position != before) return node;
        const JinjaToken *name = parser_token(parser);
        if (parser_target_name(parser) == NULL) return NULL;
        if (name->text[0] == '_') {
            (void)parser_fail(parser, name->line, "names starting with an underline can not be imported");
            return NULL;
        }
        if (parser_skip_name(parser, "as") && parser_target_name(parser) == NULL) return NULL;
        if (!parser_is(parser, TOKEN_COMMA)) return parser_ok(parser) && skip_context(parser) ? node : NULL;
    }
}

static JinjaNode *parse_break(JinjaParser *parser) { return start_statement(parser, NODE_BREAK); }
static JinjaNode *parse_continue(JinjaParser *parser) { return start_statement(parser, NODE_CONTINUE); }

static const struct {
    const char *name;
    JinjaNode *(*parse)(JinjaParser *parser);
} statements[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"generation", parse_generation},
    {"break", parse_break},
    {"continue", parse_continue},
    {"block", parse_block},
    {"print", parse_print_tag},
    {"autoescape", parse_autoescape},
    {"include", parse_include},
    {"import", parse_import},
    {"from", parse_from},
    {"extends", parse_load},
};

static bool parse_statement(JinjaParser *parser, JinjaNodeBuffer *body)
{
    const JinjaToken *tag = parser_token(parser);
    if (tag->type != TOKEN_NAME) return parser_fail(parser, tag->line, "tag name expected");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!parser_token_is_name(tag, statements[i].name)) continue;
        if (parser->n_tags == JINJA_MAX_TAG_DEPTH) {
            return parser_fail(parser, tag->line, "tags are nested deeper than %d", JINJA_MAX_TAG_DEPTH);
        }
        parser->tags[parser->n_tags++] = tag;
        JinjaNode *node = statements[i].parse(parser);
        parser->n_tags--;
        return node != NULL && parser_push(parser, body, node);
    }
    return fail_tag(parser, tag);
}

bool jinja_parse(JinjaCompiler *compiler, const char *source, size_t length)
{
    JinjaTokens tokens = {0};
    bool ok = jinja_lex(compiler, source, length, &tokens);
    if (ok) {
        JinjaParser parser = {.compiler = compiler, .tokens = tokens.at};
        ok = check_token(&parser, tokens.at) && parse_body(&parser, NULL, &compiler->chat_template->body);
    }
    free(tokens.at);
    return ok && compiler->status == IMP_OK;
}
