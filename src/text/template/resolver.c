/*
 * resolver.c - binds every name of a template to a slot, with the scopes that Jinja2's compiler makes.
 *
 * Jinja2 turns a template into Python functions: the template itself, each macro and each recursive loop. Inside them,
 * loops, with, set and filter blocks open scopes. When a scope is entered, each of its names is loaded: from the
 * context (resolve), from the scope around (alias), as a parameter, or not at all (undefined); what is assigned there
 * dies with it. A name that a function does not own is the variable of the function around it, as Python's closures see
 * it. A scope is analyzed as a whole before its statements are bound, as Jinja2 does: an assignment further down
 * already decides how a name is loaded.
 */
#include "text/template/ast.h"
#include "text/template/ast_walk.h"
#include "text/template/builtins.h"

#include <stdlib.h>

typedef struct Function {
    struct Function *parent;
    uint32_t depth, n_slots;
} Function;

typedef struct Scope Scope;

/* A name in one scope; the innermost of each name is found through its symbol. */
typedef struct Binding {
    struct Symbol *symbol;
    struct Binding *shadowed;
    Scope *scope;
    struct Binding *next; /* of the scope, in order of definition */
    JinjaScopeVariable variable;
} Binding;

typedef struct Symbol {
    JinjaString *name;
    Binding *innermost;
    struct Symbol *next; /* in its bucket */
} Symbol;

struct Scope {
    Scope *parent;
    Function *function;
    Binding *first, **last;
    size_t n;
    bool toplevel;
};

enum { SYMBOL_BUCKETS = 1024, MAX_SLOTS = 65536 };

typedef struct Resolver {
    JinjaCompiler *compiler;
    Symbol *buckets[SYMBOL_BUCKETS];
    Scope *scope;
    bool soft;    /* directly under an if: unknown filters fail only when they are reached */
    bool in_loop; /* break and continue have a loop */
    JinjaNode **blocks;
    size_t n_blocks, blocks_capacity;
} Resolver;

static bool same(const JinjaString *a, const char *b)
{
    return strlen(b) == a->length && memcmp(a->data, b, a->length) == 0;
}

static Symbol *intern(Resolver *resolver, JinjaString *name)
{
    Symbol **bucket = &resolver->buckets[name->hash % SYMBOL_BUCKETS];
    for (Symbol *symbol = *bucket; symbol != NULL; symbol = symbol->next) {
        if (symbol->name->length == name->length && memcmp(symbol->name->data, name->data, name->length) == 0)
            return symbol;
    }
    Symbol *symbol = jinja_compile_alloc(resolver->compiler, 1, sizeof *symbol);
    if (symbol == NULL) return NULL;
    symbol->name = name;
    symbol->next = *bucket;
    *bucket = symbol;
    return symbol;
}

/* ---- scopes ---- */

static Scope *open_scope(Resolver *resolver, Function *function)
{
    Scope *scope = jinja_compile_alloc(resolver->compiler, 1, sizeof *scope);
    if (scope == NULL) return NULL;
    scope->parent = resolver->scope;
    scope->function = function;
    scope->last = &scope->first;
    resolver->scope = scope;
    return scope;
}

/* Leaves the scope and stores what entering it does. */
static bool close_scope(Resolver *resolver, JinjaScope *out)
{
    Scope *scope = resolver->scope;
    resolver->scope = scope->parent;
    out->variables = jinja_compile_alloc(resolver->compiler, scope->n, sizeof *out->variables);
    for (const Binding *binding = scope->first; binding != NULL && out->variables != NULL; binding = binding->next) {
        if (binding->variable.load != LOAD_PARAMETER) out->variables[out->n_loaded++] = binding->variable;
    }
    out->n = out->n_loaded;
    for (Binding *binding = scope->first; binding != NULL; binding = binding->next) {
        const bool loaded = binding->variable.load != LOAD_PARAMETER;
        if (!loaded && out->variables != NULL) out->variables[out->n++] = binding->variable;
        binding->symbol->innermost = binding->shadowed;
    }
    return out->variables != NULL;
}

static JinjaSlot slot_of(const Resolver *resolver, const Binding *binding)
{
    return (JinjaSlot){.hops = resolver->scope->function->depth - binding->scope->function->depth,
                       .slot = binding->variable.slot};
}

static Binding *define(Resolver *resolver, Symbol *symbol, JinjaLoad load)
{
    Scope *scope = resolver->scope;
    Binding *binding = jinja_compile_alloc(resolver->compiler, 1, sizeof *binding);
    if (binding == NULL) return NULL;
    if (scope->function->n_slots == MAX_SLOTS) {
        (void)jinja_compile_fail(resolver->compiler, 1, "the template has too many variables");
        return NULL;
    }
    binding->symbol = symbol;
    binding->variable = (JinjaScopeVariable){.load = load, .slot = scope->function->n_slots++, .name = symbol->name};
    if (load == LOAD_RESOLVE) binding->variable.global = jinja_find_global(symbol->name);
    if (load == LOAD_ALIAS) binding->variable.outer = slot_of(resolver, symbol->innermost);
    binding->shadowed = symbol->innermost;
    binding->scope = scope;
    symbol->innermost = binding;
    *scope->last = binding;
    scope->last = &binding->next;
    scope->n++;
    return binding;
}

static bool own(const Resolver *resolver, const Symbol *symbol)
{
    return symbol->innermost != NULL && symbol->innermost->scope == resolver->scope;
}

/* An assignment. In a branch that may not be taken the name is looked up first. */
static bool store(Resolver *resolver, JinjaString *name, bool in_branch)
{
    Symbol *symbol = intern(resolver, name);
    if (symbol == NULL) return false;
    if (own(resolver, symbol)) return true;
    const JinjaLoad load = symbol->innermost != NULL ? LOAD_ALIAS : in_branch ? LOAD_RESOLVE : LOAD_UNDEFINED;
    return define(resolver, symbol, load) != NULL;
}

static bool load(Resolver *resolver, JinjaString *name)
{
    Symbol *symbol = intern(resolver, name);
    return symbol != NULL && (symbol->innermost != NULL || define(resolver, symbol, LOAD_RESOLVE) != NULL);
}

static Binding *declare_parameter(Resolver *resolver, JinjaString *name)
{
    Symbol *symbol = intern(resolver, name);
    if (symbol == NULL) return NULL;
    if (!own(resolver, symbol)) return define(resolver, symbol, LOAD_PARAMETER);
    symbol->innermost->variable.load = LOAD_PARAMETER;
    return symbol->innermost;
}

static Binding *declare_special(Resolver *resolver, const char *name)
{
    JinjaString *string = jinja_compile_string(resolver->compiler, name, strlen(name));
    return string == NULL ? NULL : declare_parameter(resolver, string);
}

/* ---- names below ---- */

/* Whether a name is read before it is assigned, anywhere below but in blocks. */
typedef struct UndeclaredSearch {
    const char *name;
    bool found;
} UndeclaredSearch;

static bool search_undeclared(void *context, JinjaNode *node)
{
    UndeclaredSearch *search = context;
    if (node->type == NODE_BLOCK) return true;
    if (node->type == NODE_NAME) {
        if (!same(node->name.name, search->name)) return true;
        search->found = !node->name.store;
        return false;
    }
    return ast_each_descendant(node, search_undeclared, search);
}

static bool reads_undeclared(const JinjaNodes *body, const char *name)
{
    UndeclaredSearch search = {.name = name};
    (void)ast_each(body, search_undeclared, &search);
    return search.found;
}

/* Fails where something below a loop assigns to `loop`. Parameters and the targets of with may be called so. */
static bool refuse_loop_assignment(void *context, JinjaNode *node)
{
    Resolver *resolver = context;
    switch (node->type) {
    case NODE_NAME:
        if (!node->name.store || !same(node->name.name, "loop")) return true;
        return jinja_compile_fail(resolver->compiler, node->line,
                                  "Can't assign to special loop variable in for-loop target");
    case NODE_WITH:
        return ast_each(&node->with.values, refuse_loop_assignment, context) &&
               ast_each(&node->with.body, refuse_loop_assignment, context);
    case NODE_MACRO:
    case NODE_GENERATION:
        return ast_each(&node->function->defaults, refuse_loop_assignment, context) &&
               ast_each(&node->function->body, refuse_loop_assignment, context);
    case NODE_CALL_BLOCK:
        return refuse_loop_assignment(context, node->call_block.call) &&
               ast_each(&node->call_block.function->defaults, refuse_loop_assignment, context) &&
               ast_each(&node->call_block.function->body, refuse_loop_assignment, context);
    default:
        return ast_each_descendant(node, refuse_loop_assignment, context);
    }
}

/* ---- analysis: which names a scope has ---- */

typedef struct Analysis {
    Resolver *resolver;
    bool in_branch, as_parameter;
} Analysis;

static bool analyze(void *context, JinjaNode *node)
{
    Analysis *analysis = context;
    Resolver *resolver = analysis->resolver;
    Analysis branch = {.resolver = resolver, .in_branch = true};
    switch (node->type) {
    case NODE_NAME:
        if (analysis->as_parameter) return declare_parameter(resolver, node->name.name) != NULL;
        if (node->name.store) return store(resolver, node->name.name, analysis->in_branch);
        return load(resolver, node->name.name);
    case NODE_NSREF:
        return load(resolver, node->name.name);
    case NODE_IF:
        return analyze(analysis, node->branch.test) && ast_each(&node->branch.body, analyze, &branch) &&
               ast_each(&node->branch.elifs, analyze, &branch) && ast_each(&node->branch.otherwise, analyze, &branch);
    case NODE_MACRO:
        return store(resolver, node->function->name, analysis->in_branch);
    case NODE_SET:
        return analyze(analysis, node->set.value) && analyze(analysis, node->set.target);
    case NODE_SET_BLOCK:
        return analyze(analysis, node->set.target) && ast_maybe(node->set.filter, analyze, analysis);
    case NODE_FOR:
        return analyze(analysis, node->loop.iterable);
    case NODE_CALL_BLOCK:
        return analyze(analysis, node->call_block.call);
    case NODE_FILTER_BLOCK:
        return analyze(analysis, node->filter_block.filter);
    case NODE_WITH:
        return ast_each(&node->with.values, analyze, analysis);
    case NODE_GENERATION:
    case NODE_AUTOESCAPE:
    case NODE_BLOCK:
        return true;
    default:
        return ast_each_child(node, analyze, analysis);
    }
}

static bool analyze_all(Resolver *resolver, const JinjaNodes *nodes)
{
    Analysis analysis = {.resolver = resolver};
    return ast_each(nodes, analyze, &analysis);
}

static bool analyze_one(Resolver *resolver, JinjaNode *node)
{
    Analysis analysis = {.resolver = resolver};
    return node == NULL || analyze(&analysis, node);
}

static bool analyze_parameters(Resolver *resolver, JinjaNode *target)
{
    Analysis analysis = {.resolver = resolver, .as_parameter = true};
    return analyze(&analysis, target);
}

/* ---- binding ---- */

static bool bind(void *context, JinjaNode *node);

static bool bind_all(Resolver *resolver, const JinjaNodes *nodes) { return ast_each(nodes, bind, resolver); }

static bool bind_name(Resolver *resolver, JinjaNode *node)
{
    Symbol *symbol = intern(resolver, node->name.name);
    if (symbol == NULL || !load(resolver, node->name.name)) return false;
    node->name.slot = slot_of(resolver, symbol->innermost);
    node->name.exported = node->type == NODE_NAME && node->name.store && resolver->scope->toplevel;
    return true;
}

/* What Python's compiler says of f(a=1, a=2). */
static bool check_keywords(Resolver *resolver, const JinjaNode *node, const JinjaCallArguments *arguments)
{
    for (size_t i = 1; i < arguments->values.n; i++) {
        for (size_t j = 0; j < i; j++) {
            const JinjaString *name = arguments->names[i];
            if (!jinja_same_string(name, arguments->names[j])) continue;
            jinja_compile_fail_late(resolver->compiler, LATE_CODE, node->line, "keyword argument repeated: %.*s",
                                    (int)name->length, name->data);
        }
        if (i >= 1000)
            return jinja_compile_fail(resolver->compiler, node->line, "a call has too many keyword arguments");
    }
    return true;
}

static bool bind_filter(Resolver *resolver, JinjaNode *node)
{
    if (!check_keywords(resolver, node, &node->filter.arguments)) return false;
    const bool is_filter = node->type == NODE_FILTER;
    node->filter.builtin = is_filter ? jinja_find_filter(node->filter.name) : jinja_find_test(node->filter.name);
    if (node->filter.builtin == NULL && !resolver->soft) {
        const JinjaString *name = node->filter.name;
        return jinja_compile_fail(resolver->compiler, node->line, "No %s named '%.*s'.", is_filter ? "filter" : "test",
                                  (int)name->length, name->data);
    }
    return ast_each_child(node, bind, resolver);
}

static bool bind_condition(Resolver *resolver, JinjaNode *node)
{
    const bool soft = resolver->soft;
    resolver->soft = true;
    const bool ok = ast_each_child(node, bind, resolver);
    resolver->soft = soft;
    return ok;
}

static bool bind_if(Resolver *resolver, JinjaNode *node)
{
    const bool soft = resolver->soft;
    resolver->soft = true;
    const bool ok = bind(resolver, node->branch.test) && bind_all(resolver, &node->branch.body) &&
                    bind_all(resolver, &node->branch.elifs) && bind_all(resolver, &node->branch.otherwise);
    resolver->soft = soft;
    return ok;
}

/* Runs `body` of a scope that is open: nothing there is directly under an if. */
static bool bind_inner(Resolver *resolver, const JinjaNodes *body)
{
    const bool soft = resolver->soft;
    resolver->soft = false;
    const bool ok = bind_all(resolver, body);
    resolver->soft = soft;
    return ok;
}

/* The target of a loop, once more for the function that filters its items. */
static JinjaNode *copy_target(Resolver *resolver, const JinjaNode *target)
{
    JinjaNode *copy = jinja_compile_alloc(resolver->compiler, 1, sizeof *copy);
    if (copy == NULL) return NULL;
    *copy = *target;
    if (target->type != NODE_TUPLE) return copy;
    copy->items.at = jinja_compile_alloc(resolver->compiler, target->items.n, sizeof(JinjaNode *));
    for (size_t i = 0; copy->items.at != NULL && i < target->items.n; i++) {
        copy->items.at[i] = copy_target(resolver, target->items.at[i]);
        if (copy->items.at[i] == NULL) return NULL;
    }
    return copy->items.at == NULL ? NULL : copy;
}

static bool bind_loop_test(Resolver *resolver, JinjaNode *node, Function *function)
{
    node->loop.test_target = copy_target(resolver, node->loop.target);
    if (node->loop.test_target == NULL || open_scope(resolver, function) == NULL) return false;
    const bool soft = resolver->soft;
    resolver->soft = false;
    const bool ok = analyze_parameters(resolver, node->loop.test_target) && analyze_one(resolver, node->loop.test) &&
                    bind(resolver, node->loop.test_target) && bind(resolver, node->loop.test);
    resolver->soft = soft;
    return close_scope(resolver, &node->loop.test_scope) && ok;
}

static bool bind_loop_body(Resolver *resolver, JinjaNode *node, Function *function)
{
    if (open_scope(resolver, function) == NULL) return false;
    bool ok = true;
    if (node->loop.extended) {
        const Binding *binding = declare_special(resolver, "loop");
        ok = binding != NULL;
        if (ok) node->loop.loop_slot = binding->variable.slot;
    }
    const bool in_loop = resolver->in_loop;
    resolver->in_loop = true;
    ok = ok && analyze_parameters(resolver, node->loop.target) && analyze_all(resolver, &node->loop.body) &&
         bind(resolver, node->loop.target) && bind_inner(resolver, &node->loop.body);
    resolver->in_loop = in_loop;
    return close_scope(resolver, &node->loop.body_scope) && ok;
}

static bool bind_loop_otherwise(Resolver *resolver, JinjaNode *node, Function *function)
{
    if (!node->loop.has_otherwise) return true;
    if (open_scope(resolver, function) == NULL) return false;
    const bool in_loop = resolver->in_loop;
    if (node->loop.recursive) resolver->in_loop = false;
    const bool ok = analyze_all(resolver, &node->loop.otherwise) && bind_inner(resolver, &node->loop.otherwise);
    resolver->in_loop = in_loop;
    return close_scope(resolver, &node->loop.otherwise_scope) && ok;
}

static bool bind_for(Resolver *resolver, JinjaNode *node)
{
    if (!bind(resolver, node->loop.iterable) || !refuse_loop_assignment(resolver, node)) return false;
    node->loop.extended = node->loop.recursive || reads_undeclared(&node->loop.body, "loop");
    Function *function = resolver->scope->function;
    Function recursive = {.parent = function, .depth = function->depth + 1};
    if (node->loop.recursive) function = &recursive;
    if (node->loop.test != NULL && !bind_loop_test(resolver, node, function)) return false;
    if (!bind_loop_body(resolver, node, function) || !bind_loop_otherwise(resolver, node, function)) return false;
    node->loop.n_slots = recursive.n_slots;
    return true;
}

/* caller, kwargs and varargs are parameters of a macro that reads them without declaring them. */
static bool declare_specials(Resolver *resolver, JinjaFunctionNode *function, uint32_t line)
{
    bool has_kwargs = false, has_varargs = false;
    for (size_t i = 0; i < function->parameters.n; i++) {
        const JinjaString *name = function->parameters.at[i]->name.name;
        has_kwargs |= same(name, "kwargs");
        has_varargs |= same(name, "varargs");
        if (!same(name, "caller")) continue;
        function->explicit_caller = true;
        if (i < function->parameters.n - function->defaults.n && reads_undeclared(&function->body, "caller")) {
            return jinja_compile_fail(resolver->compiler, line,
                                      "When defining macros or call blocks the special \"caller\" argument must be "
                                      "omitted or be given a default.");
        }
    }
    const struct {
        const char *name;
        bool declared, *uses;
        uint32_t *slot;
    } specials[] = {{"caller", false, &function->uses_caller, &function->caller_slot},
                    {"kwargs", has_kwargs, &function->uses_kwargs, &function->kwargs_slot},
                    {"varargs", has_varargs, &function->uses_varargs, &function->varargs_slot}};
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        if (specials[i].declared || !reads_undeclared(&function->body, specials[i].name)) continue;
        *specials[i].uses = true;
        const Binding *binding = declare_special(resolver, specials[i].name);
        if (binding == NULL) return false;
        *specials[i].slot = binding->variable.slot;
    }
    return true;
}

static bool bind_function(Resolver *resolver, JinjaFunctionNode *function, uint32_t line)
{
    Function inner = {.parent = resolver->scope->function, .depth = resolver->scope->function->depth + 1};
    if (open_scope(resolver, &inner) == NULL) return false;
    const bool in_loop = resolver->in_loop, soft = resolver->soft;
    resolver->in_loop = resolver->soft = false;
    bool ok = true;
    for (size_t i = 0; ok && i < function->parameters.n; i++) {
        JinjaString *name = function->parameters.at[i]->name.name;
        const Symbol *symbol = intern(resolver, name);
        if (symbol != NULL && own(resolver, symbol)) {
            unsigned level = 0;
            for (const Scope *scope = resolver->scope; scope->parent != NULL; scope = scope->parent) level++;
            jinja_compile_fail_late(resolver->compiler, LATE_SYMBOLS, line,
                                    "duplicate argument 'l_%u_%.*s' in function definition", level, (int)name->length,
                                    name->data);
        }
        ok = declare_parameter(resolver, name) != NULL;
    }
    ok = ok && declare_specials(resolver, function, line) && analyze_all(resolver, &function->defaults) &&
         analyze_all(resolver, &function->body) && bind_all(resolver, &function->parameters) &&
         bind_all(resolver, &function->defaults) && bind_all(resolver, &function->body);
    resolver->in_loop = in_loop;
    resolver->soft = soft;
    const bool closed = close_scope(resolver, &function->scope);
    function->n_slots = inner.n_slots;
    return ok && closed;
}

/* Jinja2 adds caller to the call's keywords. */
static bool bind_call_block(Resolver *resolver, JinjaNode *node)
{
    const JinjaCallArguments *arguments = &node->call_block.call->call.arguments;
    for (size_t i = 0; i < arguments->values.n; i++) {
        if (same(arguments->names[i], "caller"))
            jinja_compile_fail_late(resolver->compiler, LATE_CODE, node->line, "keyword argument repeated: caller");
    }
    return bind_function(resolver, node->call_block.function, node->line) && bind(resolver, node->call_block.call);
}

static bool bind_macro(Resolver *resolver, JinjaNode *node)
{
    if (!bind_function(resolver, node->function, node->line)) return false;
    Symbol *symbol = intern(resolver, node->function->name);
    if (symbol == NULL || !load(resolver, node->function->name)) return false;
    node->function->target = slot_of(resolver, symbol->innermost);
    node->function->exported = resolver->scope->toplevel;
    return true;
}

static bool bind_set_block(Resolver *resolver, JinjaNode *node)
{
    if (open_scope(resolver, resolver->scope->function) == NULL) return false;
    bool ok = analyze_all(resolver, &node->set.body) && bind_inner(resolver, &node->set.body);
    if (ok && node->set.filter != NULL) ok = bind(resolver, node->set.filter);
    ok = close_scope(resolver, &node->set.scope) && ok;
    return ok && bind(resolver, node->set.target);
}

static bool bind_filter_block(Resolver *resolver, JinjaNode *node)
{
    if (open_scope(resolver, resolver->scope->function) == NULL) return false;
    const bool ok = analyze_all(resolver, &node->filter_block.body) &&
                    analyze_one(resolver, node->filter_block.filter) &&
                    bind_inner(resolver, &node->filter_block.body) && bind(resolver, node->filter_block.filter);
    return close_scope(resolver, &node->filter_block.scope) && ok;
}

static bool bind_with(Resolver *resolver, JinjaNode *node)
{
    if (!bind_all(resolver, &node->with.values) || open_scope(resolver, resolver->scope->function) == NULL)
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < node->with.targets.n; i++) ok = analyze_parameters(resolver, node->with.targets.at[i]);
    ok = ok && analyze_all(resolver, &node->with.body) && bind_all(resolver, &node->with.targets) &&
         bind_inner(resolver, &node->with.body);
    return close_scope(resolver, &node->with.scope) && ok;
}

static bool bind_autoescape(Resolver *resolver, JinjaNode *node)
{
    if (open_scope(resolver, resolver->scope->function) == NULL) return false;
    const bool ok = analyze_one(resolver, node->autoescape.value) && analyze_all(resolver, &node->autoescape.body) &&
                    bind(resolver, node->autoescape.value) && bind_inner(resolver, &node->autoescape.body);
    return close_scope(resolver, &node->autoescape.scope) && ok;
}

static bool note_block(Resolver *resolver, JinjaNode *node)
{
    for (size_t i = 0; i < resolver->n_blocks; i++) {
        const JinjaString *other = resolver->blocks[i]->block.name;
        if (other->length == node->block.name->length &&
            memcmp(other->data, node->block.name->data, other->length) == 0) {
            return jinja_compile_fail(resolver->compiler, node->line, "block '%.*s' defined twice", (int)other->length,
                                      other->data);
        }
    }
    if (resolver->n_blocks == resolver->blocks_capacity) {
        const size_t capacity = resolver->blocks_capacity == 0 ? 8 : resolver->blocks_capacity * 2;
        if (capacity > 1024)
            return jinja_compile_fail(resolver->compiler, node->line, "the template has too many blocks");
        JinjaNode **grown = realloc(resolver->blocks, capacity * sizeof(JinjaNode *));
        if (grown == NULL) return jinja_compile_fail(resolver->compiler, node->line, "out of memory");
        resolver->blocks = grown;
        resolver->blocks_capacity = capacity;
    }
    resolver->blocks[resolver->n_blocks++] = node;
    return true;
}

/* All blocks in the order of the text: one that is defined twice is the first thing that Jinja2 refuses. */
static bool note_blocks(void *context, JinjaNode *node)
{
    if (node->type == NODE_BLOCK && !note_block(context, node)) return false;
    return ast_each_descendant(node, note_blocks, context);
}

/* Blocks are functions of their own that see the context, not the scopes around. */
static bool bind_block(Resolver *resolver, JinjaNode *node)
{
    Function function = {0};
    resolver->scope = NULL;
    resolver->soft = resolver->in_loop = false;
    if (open_scope(resolver, &function) == NULL) return false;
    bool ok = true;
    node->block.uses_self = reads_undeclared(&node->block.body, "self");
    node->block.uses_super = reads_undeclared(&node->block.body, "super");
    if (node->block.uses_self) {
        const Binding *binding = declare_special(resolver, "self");
        ok = binding != NULL;
        if (ok) node->block.self_slot = binding->variable.slot;
    }
    if (ok && node->block.uses_super) {
        const Binding *binding = declare_special(resolver, "super");
        ok = binding != NULL;
        if (ok) node->block.super_slot = binding->variable.slot;
    }
    ok = ok && analyze_all(resolver, &node->block.body) && bind_all(resolver, &node->block.body);
    const bool closed = close_scope(resolver, &node->block.scope);
    node->block.n_slots = function.n_slots;
    return ok && closed;
}

static bool bind_jump(Resolver *resolver, JinjaNode *node)
{
    if (resolver->in_loop) return true;
    jinja_compile_fail_late(resolver->compiler, LATE_CODE, node->line, "%s",
                            node->type == NODE_BREAK ? "'break' outside loop" : "'continue' not properly in loop");
    return true;
}

static bool is_sum(const JinjaNode *node)
{
    return node->type == NODE_BINARY && node->binary.operation == OPERATOR_ADD;
}

/* The parts of a sum, from the left, for an output that writes them one by one. */
static bool list_terms(Resolver *resolver, JinjaNode *sum)
{
    size_t n = 1;
    for (const JinjaNode *at = sum; is_sum(at); at = at->binary.left) n++;
    JinjaTerm *terms = jinja_compile_alloc(resolver->compiler, n, sizeof *terms);
    if (terms == NULL) return false;
    JinjaNode *at = sum;
    for (size_t i = n - 1; i > 0; i--, at = at->binary.left) terms[i].node = at->binary.right;
    terms[0].node = at;
    for (size_t i = 0; i < n; i++) {
        const JinjaNode *node = terms[i].node;
        if (node->type != NODE_CONST || node->constant.kind != JINJA_STRING) continue;
        const JinjaString *text = node->constant.string;
        if (text->markup || text->length > sizeof terms[i].text) continue;
        terms[i].length = text->length;
        if (text->length > 0) memcpy(terms[i].text, text->data, text->length);
    }
    sum->binary.terms = terms;
    sum->binary.n_terms = n;
    return true;
}

static bool bind_output(Resolver *resolver, JinjaNode *node)
{
    if (!ast_each_child(node, bind, resolver)) return false;
    for (size_t i = 0; i < node->items.n; i++) {
        if (is_sum(node->items.at[i]) && !list_terms(resolver, node->items.at[i])) return false;
    }
    return true;
}

static uint16_t height_over(const JinjaNode *a, const JinjaNode *b)
{
    return (uint16_t)((a->height > b->height ? a->height : b->height) + 1);
}

/* (a and b) and c is a and (b and c), whose test asks for a at once, without entering the first pair; so with or. High
 * ones are left as they are: leaning makes them higher still. */
static void lean_right(JinjaNode *node)
{
    enum { LOW = 16 };
    while (node->binary.left->type == node->type) {
        JinjaNode *pair = node->binary.left, *first = pair->binary.left;
        JinjaNode leaned = *pair;
        leaned.binary.left = pair->binary.right;
        leaned.binary.right = node->binary.right;
        leaned.height = height_over(leaned.binary.left, leaned.binary.right);
        const uint16_t height = height_over(first, &leaned);
        if (height > LOW) return;
        node->height = height;
        *pair = leaned;
        node->binary.left = first;
        node->binary.right = pair;
    }
}

/* A field of a variable can be read where it is. */
static void note_field(JinjaNode *node, const JinjaNode *object, const JinjaValue *key)
{
    if (object->type != NODE_NAME || key->kind != JINJA_STRING || !key->string->interned) return;
    node->variable = object->name.slot;
    node->field = key->string;
}

static bool bind(void *context, JinjaNode *node)
{
    Resolver *resolver = context;
    switch (node->type) {
    case NODE_NAME:
    case NODE_NSREF:
        return bind_name(resolver, node);
    case NODE_FILTER:
    case NODE_TEST:
        return bind_filter(resolver, node);
    case NODE_OUTPUT:
        return bind_output(resolver, node);
    case NODE_CALL:
        return check_keywords(resolver, node, &node->call.arguments) && ast_each_child(node, bind, resolver);
    case NODE_AND:
    case NODE_OR:
        lean_right(node);
        return ast_each_child(node, bind, resolver);
    case NODE_CONDITION:
        return bind_condition(resolver, node);
    case NODE_ATTRIBUTE: {
        const JinjaString *name = node->attribute.name.string;
        node->attribute.string_method = jinja_find_string_method(name);
        node->attribute.list_method = jinja_find_list_method(name);
        node->attribute.dict_method = jinja_find_dict_method(name);
        if (!bind(resolver, node->attribute.object)) return false;
        /* Attributes come before entries: methods, and Python's own, which start with an underscore. */
        const bool hidden = node->attribute.dict_method != NULL || name->length == 0 || name->data[0] == '_';
        if (!hidden) note_field(node, node->attribute.object, &node->attribute.name);
        return true;
    }
    case NODE_ITEM:
        if (!ast_each_child(node, bind, resolver)) return false;
        if (node->item.argument->type == NODE_CONST) {
            note_field(node, node->item.object, &node->item.argument->constant);
        }
        return true;
    case NODE_IF:
        return bind_if(resolver, node);
    case NODE_FOR:
        return bind_for(resolver, node);
    case NODE_SET:
        return bind(resolver, node->set.value) && bind(resolver, node->set.target);
    case NODE_SET_BLOCK:
        return bind_set_block(resolver, node);
    case NODE_FILTER_BLOCK:
        return bind_filter_block(resolver, node);
    case NODE_WITH:
        return bind_with(resolver, node);
    case NODE_MACRO:
        return bind_macro(resolver, node);
    case NODE_GENERATION:
        return bind_function(resolver, node->function, node->line);
    case NODE_CALL_BLOCK:
        return bind_call_block(resolver, node);
    case NODE_AUTOESCAPE:
        return bind_autoescape(resolver, node);
    case NODE_BLOCK: /* bind_block */
        return true;
    case NODE_BREAK:
    case NODE_CONTINUE:
        return bind_jump(resolver, node);
    default:
        return ast_each_child(node, bind, resolver);
    }
}

static bool bind_template(Resolver *resolver)
{
    ChatTemplate *chat_template = resolver->compiler->chat_template;
    Function root = {0};
    Scope *scope = open_scope(resolver, &root);
    if (scope == NULL) return false;
    scope->toplevel = true;
    chat_template->uses_self = reads_undeclared(&chat_template->body, "self");
    bool ok = true;
    if (chat_template->uses_self) {
        const Binding *binding = declare_special(resolver, "self");
        ok = binding != NULL;
        if (ok) chat_template->self_slot = binding->variable.slot;
    }
    ok = ok && analyze_all(resolver, &chat_template->body) && bind_all(resolver, &chat_template->body);
    const bool closed = close_scope(resolver, &chat_template->scope);
    chat_template->n_slots = root.n_slots;
    return ok && closed;
}

bool jinja_resolve(JinjaCompiler *compiler)
{
    Resolver resolver = {.compiler = compiler};
    bool ok = ast_each(&compiler->chat_template->body, note_blocks, &resolver) && bind_template(&resolver);
    for (size_t i = 0; ok && i < resolver.n_blocks; i++) ok = bind_block(&resolver, resolver.blocks[i]);
    JinjaNodes *blocks = &compiler->chat_template->blocks;
    blocks->at = jinja_compile_alloc(compiler, resolver.n_blocks, sizeof(JinjaNode *));
    if (blocks->at != NULL && resolver.n_blocks > 0) {
        memcpy(blocks->at, resolver.blocks, resolver.n_blocks * sizeof(JinjaNode *));
        blocks->n = resolver.n_blocks;
    }
    free(resolver.blocks);
    for (int stage = 0; ok && stage < LATE_STAGES; stage++) {
        if (compiler->late[stage].line != 0)
            ok = jinja_compile_fail(compiler, compiler->late[stage].line, "%s", compiler->late[stage].message);
    }
    return ok && blocks->at != NULL && compiler->status == IMP_OK;
}
