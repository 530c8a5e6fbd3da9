/*
 * interpreter.c - statements.
 *
 * A body runs until its end, a break, a continue or a failure. Variables live in the activation of the function that
 * runs; scopes only say which of them to load when they are entered and to forget when they are left. Text goes to
 * state->out, which captures replace for a while.
 */
#include "text/template/interpreter.h"
#include "text/template/builtins.h"
#include "text/template/operators.h"

JinjaActivation *jinja_activate(JinjaState *state, JinjaActivation *parent, uint32_t n_slots)
{
    JinjaActivation *activation = jinja_alloc(state, 1, sizeof *activation);
    if (activation == NULL) return NULL;
    activation->parent = parent;
    activation->slots = jinja_alloc(state, n_slots, sizeof *activation->slots); /* zero is JINJA_MISSING */
    return activation->slots == NULL ? NULL : activation;
}

/* A name of the context: what blocks see of the assignments, the caller's variables, the globals. */
static JinjaValue resolve(JinjaState *state, const JinjaScopeVariable *variable)
{
    if (state->exported != NULL) {
        const JinjaValue *value = jinja_dict_find_string(state, state->exported, variable->name);
        if (value != NULL) return *value;
    }
    const JinjaValue *value = jinja_dict_find_name(state, state->variables, variable->name);
    if (value != NULL) return *value;
    if (variable->global == NULL) return jinja_missing();
    return (JinjaValue){.kind = JINJA_FUNCTION, .function = variable->global};
}

void jinja_enter_scope(JinjaState *state, JinjaActivation *activation, const JinjaScope *scope)
{
    for (size_t i = 0; i < scope->n_loaded; i++) {
        const JinjaScopeVariable *variable = &scope->variables[i];
        JinjaValue *slot = &activation->slots[variable->slot];
        if (variable->load == LOAD_RESOLVE) {
            *slot = resolve(state, variable);
        } else if (variable->load == LOAD_ALIAS) {
            *slot = *jinja_slot(activation, variable->outer);
        } else if (variable->load == LOAD_UNDEFINED) {
            *slot = jinja_missing();
        }
    }
}

void jinja_leave_scope(JinjaActivation *activation, const JinjaScope *scope)
{
    for (size_t i = 0; i < scope->n; i++) activation->slots[scope->variables[i].slot] = jinja_missing();
}

/* ---- assignment ---- */

static bool store_name(JinjaState *state, JinjaActivation *activation, const JinjaNode *target, const JinjaValue *value)
{
    *jinja_slot(activation, target->name.slot) = *value;
    if (!target->name.exported || state->exported == NULL) return true;
    const JinjaValue key = {.kind = JINJA_STRING, .string = target->name.name};
    return jinja_dict_set(state, state->exported, key, *value);
}

static bool store_attribute(JinjaState *state, JinjaActivation *activation, const JinjaNode *target,
                            const JinjaValue *value)
{
    const JinjaValue *object = jinja_slot(activation, target->name.slot);
    if (object->kind != JINJA_NAMESPACE && object->kind != JINJA_DICT) {
        const char *type = object->kind == JINJA_MISSING ? "_MissingType" : jinja_type_name(object);
        if (object->kind == JINJA_LIST) return jinja_raise(state, "list indices must be integers or slices, not str");
        return jinja_raise(state, "'%s' object does not support item assignment", type);
    }
    const JinjaValue key = {.kind = JINJA_STRING, .string = target->name.attribute};
    return jinja_dict_own(state, object->dict) && jinja_dict_set(state, object->dict, key, *value);
}

static bool unpack(JinjaState *state, JinjaActivation *activation, const JinjaNode *target, const JinjaValue *value)
{
    const size_t n = target->items.n;
    JinjaCursor cursor;
    if (!jinja_is_iterable(value)) {
        return jinja_raise(state, "cannot unpack non-iterable %s object", jinja_type_name(value));
    }
    JinjaValue *items = jinja_alloc(state, n + 1, sizeof *items);
    if (items == NULL || !jinja_iterate(state, value, &cursor)) return false;
    size_t got = 0;
    for (; got <= n; got++) {
        const JinjaNext next = jinja_next(state, &cursor, &items[got]);
        if (next == JINJA_NEXT_FAILED) return false;
        if (next == JINJA_NEXT_END) break;
    }
    if (got > n) return jinja_raise(state, "too many values to unpack (expected %zu)", n);
    if (got < n) return jinja_raise(state, "not enough values to unpack (expected %zu, got %zu)", n, got);
    for (size_t i = 0; i < n; i++) {
        if (!jinja_assign(state, activation, target->items.at[i], &items[i])) return false;
    }
    return true;
}

bool jinja_assign(JinjaState *state, JinjaActivation *activation, const JinjaNode *target, const JinjaValue *value)
{
    if (target->type == NODE_NAME) return store_name(state, activation, target, value);
    if (target->type == NODE_NSREF) return store_attribute(state, activation, target, value);
    if (!jinja_enter(state)) return false;
    const bool ok = unpack(state, activation, target, value);
    jinja_leave(state);
    return ok;
}

/* Jinja2 checks namespaces before it computes what they will hold. */
static bool check_namespaces(JinjaState *state, JinjaActivation *activation, const JinjaNode *target)
{
    if (target->type == NODE_NSREF) {
        if (jinja_slot(activation, target->name.slot)->kind == JINJA_NAMESPACE) return true;
        return jinja_raise(state, "cannot assign attribute on non-namespace object");
    }
    for (size_t i = 0; target->type == NODE_TUPLE && i < target->items.n; i++) {
        if (!check_namespaces(state, activation, target->items.at[i])) return false;
    }
    return true;
}

/* ---- statements ---- */

static JinjaFlow flow(bool ok) { return ok ? JINJA_FLOW_NEXT : JINJA_FLOW_FAILED; }

static void write_value(JinjaState *state, const JinjaValue *value)
{
    if (!state->autoescape) {
        jinja_str(state, state->out, value);
        return;
    }
    JinjaValue escaped;
    if (jinja_escape(state, value, &escaped)) jinja_str(state, state->out, &escaped);
}

static bool is_plain_string(const JinjaValue *value) { return value->kind == JINJA_STRING && !value->string->markup; }

/* The common case of it: all terms are there already, and are strings that fit. Nothing happens in other cases. */
static bool write_terms_in_place(JinjaState *state, JinjaActivation *activation, const JinjaTerm *terms, size_t n)
{
    enum { MOST = 16 };
    const JinjaString *strings[MOST];
    StrBuf *out = state->out;
    size_t end = out->length;
    if (n > MOST) return false;
    for (size_t i = 0; i < n; i++) {
        end += terms[i].length;
        if (terms[i].length > 0) continue;
        const JinjaValue *term = jinja_in_place(state, activation, terms[i].node);
        if (term == NULL || !is_plain_string(term)) return false;
        strings[i] = term->string;
        end += term->string->length;
    }
    const size_t limit = state->limits.output_bytes;
    if (end + sizeof terms->text >= out->capacity || (limit != 0 && end > limit)) return false;
    char *to = out->data + out->length;
    for (size_t i = 0; i < n; i++) {
        if (terms[i].length > 0) {
            memcpy(to, terms[i].text, sizeof terms[i].text);
            to += terms[i].length;
        } else {
            jinja_copy_bytes(to, strings[i]->data, strings[i]->length);
            to += strings[i]->length;
        }
    }
    *to = '\0';
    out->length = end;
    return true;
}

/* `{{ a + b + c }}` over strings, the common case, written piece by piece instead of joined first. When another kind of
 * value turns up, what was written becomes a string again and the sum goes on as Python's would. */
static bool write_sum(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    const JinjaTerm *terms = node->binary.terms;
    const size_t n = node->binary.n_terms;
    if (write_terms_in_place(state, activation, terms, n)) return true;
    const uint16_t height = node->height; /* of all that is evaluated here */
    state->nesting += height;
    if (state->nesting > JINJA_MAX_NESTING) return jinja_enter_failed(state);
    StrBuf *out = state->out;
    const size_t before = out->length;
    JinjaValue sum, computed;
    if (!jinja_evaluate_within(state, activation, terms[0].node, &sum)) return false;
    bool streaming = is_plain_string(&sum);
    if (streaming) jinja_append(state, out, sum.string->data, sum.string->length);
    for (size_t i = 1; i < n; i++) {
        const JinjaNode *next = terms[i].node;
        const JinjaValue *term = jinja_in_place(state, activation, next);
        if (term == NULL) {
            if (!jinja_evaluate_within(state, activation, next, &computed)) return false;
            term = &computed;
        }
        if (streaming && is_plain_string(term)) {
            jinja_append(state, out, term->string->data, term->string->length);
            continue;
        }
        if (streaming && !jinja_string(state, out->data + before, out->length - before, &sum)) return false;
        if (streaming) out->length = before;
        streaming = false;
        JinjaValue result;
        if (!jinja_add(state, &sum, term, &result)) return false;
        sum = result;
    }
    if (!streaming) write_value(state, &sum);
    state->nesting -= height;
    return state->status == IMP_OK;
}

static JinjaFlow run_output(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    for (size_t i = 0; i < node->items.n; i++) {
        const JinjaNode *item = node->items.at[i];
        if (item->type == NODE_CONST && item->constant.kind == JINJA_STRING &&
            (!state->autoescape || item->constant.tag == JINJA_TEMPLATE_DATA)) {
            jinja_append(state, state->out, item->constant.string->data, item->constant.string->length);
            if (state->status != IMP_OK) return JINJA_FLOW_FAILED;
            continue;
        }
        state->line = item->line;
        if (item->type == NODE_BINARY && item->binary.terms != NULL && !state->autoescape) {
            if (!write_sum(state, activation, item)) return JINJA_FLOW_FAILED;
            continue;
        }
        JinjaValue computed;
        const JinjaValue *value = jinja_in_place(state, activation, item);
        if (value == NULL) {
            if (!jinja_evaluate(state, activation, item, &computed)) return JINJA_FLOW_FAILED;
            value = &computed;
        }
        if (value->kind == JINJA_STRING && !state->autoescape) {
            jinja_append(state, state->out, value->string->data, value->string->length);
        } else {
            write_value(state, value);
        }
        if (state->status != IMP_OK) return JINJA_FLOW_FAILED;
    }
    return JINJA_FLOW_NEXT;
}

/* ---- conditions, tested without making values of them ---- */

/* What is no comparison of two values that are there already. */
static __attribute__((noinline)) bool test_other(JinjaState *state, JinjaActivation *activation, const JinjaNode *node,
                                                 bool *holds)
{
    JinjaValue value;
    if (!jinja_evaluate(state, activation, node, &value)) return false;
    *holds = jinja_is_true(state, &value);
    return true;
}

static inline __attribute__((always_inline)) bool test_leaf(JinjaState *state, JinjaActivation *activation,
                                                            const JinjaNode *node, bool *holds)
{
    if (node->type != NODE_COMPARE || node->compare.rest.n != 1) return test_other(state, activation, node, holds);
    const JinjaValue *left = jinja_in_place(state, activation, node->compare.first);
    const JinjaValue *right = left == NULL ? NULL : jinja_in_place(state, activation, node->compare.rest.at[0]);
    if (right == NULL) return test_other(state, activation, node, holds);
    return jinja_compare_pair(state, node->compare.operators[0], left, right, holds);
}

/* The resolver makes chains lean right: what stands on the left of them is nearly always a leaf. */
static inline bool test(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, bool *holds)
{
    while (node->type == NODE_AND || node->type == NODE_OR) {
        if (!test_leaf(state, activation, node->binary.left, holds)) return false;
        if (*holds != (node->type == NODE_AND)) return true;
        node = node->binary.right;
    }
    return test_leaf(state, activation, node, holds);
}

/* ---- statements ---- */

static inline JinjaFlow execute(JinjaState *state, JinjaActivation *activation, const JinjaNodes *body);

static JinjaFlow run_if(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    const JinjaNode *branch = node;
    for (size_t i = 0;; i++) {
        state->line = branch->line;
        bool holds;
        if (!test(state, activation, branch->branch.test, &holds)) return JINJA_FLOW_FAILED;
        if (holds) return execute(state, activation, &branch->branch.body);
        if (i == node->branch.elifs.n) return execute(state, activation, &node->branch.otherwise);
        branch = node->branch.elifs.at[i];
    }
}

static JinjaFlow run_for(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaValue iterable;
    if (!jinja_evaluate(state, activation, node->loop.iterable, &iterable)) return JINJA_FLOW_FAILED;
    if (!node->loop.recursive) return jinja_run_loop(state, activation, node, &iterable, 0);
    JinjaActivation *inner = jinja_activate(state, activation, node->loop.n_slots);
    if (inner == NULL) return JINJA_FLOW_FAILED;
    return jinja_run_loop(state, inner, node, &iterable, 0);
}

static JinjaFlow run_set(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaValue value;
    if (node->set.target->type != NODE_NAME && !check_namespaces(state, activation, node->set.target)) {
        return JINJA_FLOW_FAILED;
    }
    if (!jinja_evaluate(state, activation, node->set.value, &value)) return JINJA_FLOW_FAILED;
    return flow(jinja_assign(state, activation, node->set.target, &value));
}

/* A body's text and, unless it jumped out, the filter over it. */
static JinjaFlow run_captured(JinjaState *state, JinjaActivation *activation, const JinjaNodes *body,
                              const JinjaScope *scope, const JinjaNode *filter, JinjaValue *out)
{
    StrBuf *outer = state->out, *text = jinja_capture(state);
    if (text == NULL) return JINJA_FLOW_FAILED;
    const uint32_t line = state->line;
    jinja_enter_scope(state, activation, scope);
    state->out = text;
    const JinjaFlow result = jinja_execute(state, activation, body);
    state->out = outer;
    state->line = line;
    if (result == JINJA_FLOW_FAILED) return JINJA_FLOW_FAILED;
    if (result != JINJA_FLOW_NEXT) {
        jinja_capture_drop(state, text);
        return result;
    }
    if (!jinja_capture_finish(state, text, out)) return JINJA_FLOW_FAILED;
    if (state->autoescape) out->string->markup = true;
    if (filter != NULL) {
        state->block_text = *out;
        if (!jinja_evaluate(state, activation, filter, out)) return JINJA_FLOW_FAILED;
    }
    return JINJA_FLOW_NEXT;
}

static JinjaFlow run_set_block(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaValue value;
    const JinjaFlow result =
        run_captured(state, activation, &node->set.body, &node->set.scope, node->set.filter, &value);
    if (result == JINJA_FLOW_NEXT && !jinja_assign(state, activation, node->set.target, &value))
        return JINJA_FLOW_FAILED;
    jinja_leave_scope(activation, &node->set.scope);
    return result;
}

static JinjaFlow run_filter_block(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaValue value;
    const JinjaFlow result = run_captured(state, activation, &node->filter_block.body, &node->filter_block.scope,
                                          node->filter_block.filter, &value);
    if (result == JINJA_FLOW_NEXT) jinja_str(state, state->out, &value);
    jinja_leave_scope(activation, &node->filter_block.scope);
    return state->status == IMP_OK ? result : JINJA_FLOW_FAILED;
}

static JinjaFlow run_with(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    jinja_enter_scope(state, activation, &node->with.scope);
    for (size_t i = 0; i < node->with.targets.n; i++) {
        JinjaValue value;
        if (!jinja_evaluate(state, activation, node->with.values.at[i], &value)) return JINJA_FLOW_FAILED;
        if (!jinja_assign(state, activation, node->with.targets.at[i], &value)) return JINJA_FLOW_FAILED;
    }
    const JinjaFlow result = jinja_execute(state, activation, &node->with.body);
    jinja_leave_scope(activation, &node->with.scope);
    return result;
}

static bool make_macro(JinjaState *state, JinjaActivation *activation, const JinjaNode *node, JinjaValue *out)
{
    JinjaMacro *macro = jinja_alloc(state, 1, sizeof *macro);
    if (macro == NULL) return false;
    macro->node = node;
    macro->closure = activation;
    *out = (JinjaValue){.kind = JINJA_MACRO, .macro = macro};
    return true;
}

static JinjaFlow run_macro(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaValue macro;
    if (!make_macro(state, activation, node, &macro)) return JINJA_FLOW_FAILED;
    *jinja_slot(activation, node->function->target) = macro;
    if (!node->function->exported || state->exported == NULL) return JINJA_FLOW_NEXT;
    const JinjaValue key = {.kind = JINJA_STRING, .string = node->function->name};
    return flow(jinja_dict_set(state, state->exported, key, macro));
}

static JinjaFlow run_call_block(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaNamed caller = {.name = jinja_alloc(state, 1, sizeof(JinjaString))};
    if (caller.name == NULL || !make_macro(state, activation, node, &caller.value)) return JINJA_FLOW_FAILED;
    *caller.name = (JinjaString){.data = "caller", .length = 6, .n_chars = 6};
    const JinjaNode *call = node->call_block.call;
    JinjaValue callee, result;
    JinjaArguments arguments;
    if (!jinja_evaluate(state, activation, call->call.callee, &callee) ||
        !jinja_evaluate_arguments(state, activation, &call->call.arguments, &caller, &arguments) ||
        !jinja_call(state, &callee, &arguments, &result)) {
        return JINJA_FLOW_FAILED;
    }
    jinja_str(state, state->out, &result);
    return flow(state->status == IMP_OK);
}

/* {% generation %} marks what the model wrote; to a rendering it is a function without parameters called at once. */
static JinjaFlow run_generation(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaActivation *inner = jinja_activate(state, activation, node->function->n_slots);
    if (inner == NULL) return JINJA_FLOW_FAILED;
    jinja_enter_scope(state, inner, &node->function->scope);
    if (node->function->uses_caller) {
        JinjaValue *slot = &inner->slots[node->function->caller_slot];
        if (!jinja_undefined_hint(state, "No caller defined", slot)) return JINJA_FLOW_FAILED;
    }
    if (node->function->uses_kwargs && !jinja_dict(state, 0, &inner->slots[node->function->kwargs_slot])) {
        return JINJA_FLOW_FAILED;
    }
    if (node->function->uses_varargs && !jinja_tuple(state, 0, &inner->slots[node->function->varargs_slot])) {
        return JINJA_FLOW_FAILED;
    }
    return jinja_execute(state, inner, &node->function->body);
}

static JinjaFlow run_autoescape(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    jinja_enter_scope(state, activation, &node->autoescape.scope);
    JinjaValue value;
    if (!jinja_evaluate(state, activation, node->autoescape.value, &value)) return JINJA_FLOW_FAILED;
    const bool outer = state->autoescape;
    state->autoescape = jinja_is_true(state, &value);
    const JinjaFlow result = jinja_execute(state, activation, &node->autoescape.body);
    state->autoescape = outer;
    jinja_leave_scope(activation, &node->autoescape.scope);
    return result;
}

/* The body of a block into state->out. */
static bool write_block(JinjaState *state, const JinjaNode *node)
{
    if (node->block.required) {
        return jinja_raise(state, "Required block '%.*s' not found", (int)node->block.name->length,
                           node->block.name->data);
    }
    JinjaActivation *activation = jinja_activate(state, NULL, node->block.n_slots);
    if (activation == NULL) return false;
    if (node->block.uses_self) activation->slots[node->block.self_slot] = (JinjaValue){.kind = JINJA_SELF};
    if (node->block.uses_super) {
        char *hint = jinja_alloc(state, node->block.name->length + 48, 1);
        if (hint == NULL) return false;
        memcpy(hint, "there is no parent block called '", 33);
        memcpy(hint + 33, node->block.name->data, node->block.name->length);
        memcpy(hint + 33 + node->block.name->length, "'.", 3);
        if (!jinja_undefined_hint(state, hint, &activation->slots[node->block.super_slot])) return false;
    }
    jinja_enter_scope(state, activation, &node->block.scope);
    return jinja_execute(state, activation, &node->block.body) != JINJA_FLOW_FAILED;
}

bool jinja_call_block(JinjaState *state, const JinjaNode *block, JinjaValue *out)
{
    if (state->limits.depth != 0 && state->depth >= state->limits.depth) {
        return jinja_raise_limit(state, "maximum recursion depth exceeded");
    }
    StrBuf *outer = state->out, *text = jinja_capture(state);
    if (text == NULL) return false;
    state->depth++;
    state->out = text;
    const bool ok = write_block(state, block);
    state->out = outer;
    state->depth--;
    return ok && jinja_capture_finish(state, text, out);
}

static JinjaFlow run_block(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    (void)activation;
    return flow(write_block(state, node));
}

static JinjaFlow run_load_template(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    JinjaValue source;
    if (!jinja_evaluate(state, activation, node->load_template.source, &source)) return JINJA_FLOW_FAILED;
    return flow(jinja_raise(state, "no loader for this environment specified"));
}

static JinjaFlow run_break(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    (void)state, (void)activation, (void)node;
    return JINJA_FLOW_BREAK;
}

static JinjaFlow run_continue(JinjaState *state, JinjaActivation *activation, const JinjaNode *node)
{
    (void)state, (void)activation, (void)node;
    return JINJA_FLOW_CONTINUE;
}

typedef JinjaFlow StatementRunner(JinjaState *state, JinjaActivation *activation, const JinjaNode *node);

static StatementRunner *const runners[NODE_TYPES] = {
    [NODE_OUTPUT] = run_output,
    [NODE_IF] = run_if,
    [NODE_FOR] = run_for,
    [NODE_SET] = run_set,
    [NODE_SET_BLOCK] = run_set_block,
    [NODE_FILTER_BLOCK] = run_filter_block,
    [NODE_WITH] = run_with,
    [NODE_MACRO] = run_macro,
    [NODE_CALL_BLOCK] = run_call_block,
    [NODE_GENERATION] = run_generation,
    [NODE_BREAK] = run_break,
    [NODE_CONTINUE] = run_continue,
    [NODE_AUTOESCAPE] = run_autoescape,
    [NODE_BLOCK] = run_block,
    [NODE_LOAD_TEMPLATE] = run_load_template,
};

static inline JinjaFlow execute(JinjaState *state, JinjaActivation *activation, const JinjaNodes *body)
{
    if (!jinja_enter(state)) return JINJA_FLOW_FAILED;
    JinjaFlow result = JINJA_FLOW_NEXT;
    for (size_t i = 0; i < body->n && result == JINJA_FLOW_NEXT; i++) {
        const JinjaNode *node = body->at[i];
        if (!jinja_charge(state, 1)) {
            result = JINJA_FLOW_FAILED;
            break;
        }
        state->line = node->line;
        result = runners[node->type](state, activation, node);
    }
    jinja_leave(state);
    return result;
}

JinjaFlow jinja_execute(JinjaState *state, JinjaActivation *activation, const JinjaNodes *body)
{
    return execute(state, activation, body);
}

bool jinja_run(JinjaState *state)
{
    const ChatTemplate *chat_template = state->chat_template;
    JinjaActivation *root = jinja_activate(state, NULL, chat_template->n_slots);
    if (root == NULL) return false;
    if (chat_template->uses_self) root->slots[chat_template->self_slot] = (JinjaValue){.kind = JINJA_SELF};
    jinja_enter_scope(state, root, &chat_template->scope);
    return jinja_execute(state, root, &chat_template->body) == JINJA_FLOW_NEXT;
}
