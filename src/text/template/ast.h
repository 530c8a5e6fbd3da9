/*
 * ast.h - a compiled template: statements and expressions whose names are bound to slots.
 *
 * Made by the parser, bound by the resolver, then read only. Everything lives in the template's arena.
 */
#ifndef IMP_TEXT_TEMPLATE_AST_H
#define IMP_TEXT_TEMPLATE_AST_H

#include "text/template/value.h"

typedef enum JinjaNodeType {
    /* expressions */
    NODE_CONST,
    NODE_NAME,
    NODE_NSREF, /* namespace.attribute as an assignment's target */
    NODE_TUPLE,
    NODE_LIST,
    NODE_DICT,
    NODE_CONDITION,
    NODE_AND,
    NODE_OR,
    NODE_NOT,
    NODE_NEGATE,
    NODE_POSITIVE,
    NODE_BINARY,
    NODE_CONCAT,
    NODE_COMPARE,
    NODE_ATTRIBUTE,
    NODE_ITEM,
    NODE_SLICE, /* only as an item's argument */
    NODE_CALL,
    NODE_FILTER,
    NODE_TEST,
    /* statements */
    NODE_OUTPUT,
    NODE_IF,
    NODE_FOR,
    NODE_SET,
    NODE_SET_BLOCK,
    NODE_FILTER_BLOCK,
    NODE_WITH,
    NODE_MACRO,
    NODE_CALL_BLOCK,
    NODE_GENERATION,
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_AUTOESCAPE,
    NODE_BLOCK,
    NODE_LOAD_TEMPLATE, /* include, import, extends: there is nothing to load */
    NODE_TYPES
} JinjaNodeType;

typedef enum JinjaOperator {
    OPERATOR_ADD,
    OPERATOR_SUBTRACT,
    OPERATOR_MULTIPLY,
    OPERATOR_DIVIDE,
    OPERATOR_FLOOR_DIVIDE,
    OPERATOR_MODULO,
    OPERATOR_POWER,
    OPERATOR_EQUAL,
    OPERATOR_NOT_EQUAL,
    OPERATOR_LESS,
    OPERATOR_LESS_EQUAL,
    OPERATOR_GREATER,
    OPERATOR_GREATER_EQUAL,
    OPERATOR_IN,
    OPERATOR_NOT_IN,
} JinjaOperator;

/* A part of a sum that is written out. A short constant text is copied whole, without asking for its length first. */
typedef struct JinjaTerm {
    JinjaNode *node;
    size_t length; /* of `text`; 0: the node is to be evaluated */
    char text[16];
} JinjaTerm;

typedef struct JinjaNodes {
    JinjaNode **at;
    size_t n;
} JinjaNodes;

/* A variable: `hops` functions outwards, then the slot. */
typedef struct JinjaSlot {
    uint32_t hops, slot;
} JinjaSlot;

typedef enum JinjaLoad { LOAD_PARAMETER, LOAD_RESOLVE, LOAD_ALIAS, LOAD_UNDEFINED } JinjaLoad;

/* What a scope does for one of its variables when it is entered. */
typedef struct JinjaScopeVariable {
    JinjaLoad load;
    uint32_t slot;              /* in the running function */
    JinjaString *name;          /* LOAD_RESOLVE: in the context */
    const JinjaBuiltin *global; /* LOAD_RESOLVE: the function of that name, NULL: none */
    JinjaSlot outer;            /* LOAD_ALIAS */
} JinjaScopeVariable;

typedef struct JinjaScope {
    JinjaScopeVariable *variables; /* those that something is done for come first */
    size_t n, n_loaded;
} JinjaScope;

typedef struct JinjaCallArguments {
    JinjaNodes positional;
    JinjaString **names;
    JinjaNodes values; /* of the names */
    JinjaNode *dynamic_positional, *dynamic_named;
} JinjaCallArguments;

/* Macros, call blocks and generation blocks. */
typedef struct JinjaFunctionNode {
    JinjaString *name;     /* NULL: a call block */
    JinjaNodes parameters; /* NODE_NAME */
    JinjaNodes defaults;   /* of the last ones */
    JinjaNodes body;
    JinjaScope scope;
    uint32_t n_slots;
    bool uses_caller, uses_kwargs, uses_varargs, explicit_caller;
    uint32_t caller_slot, kwargs_slot, varargs_slot;
    JinjaSlot target; /* where a macro is stored */
    bool exported;
} JinjaFunctionNode;

struct JinjaNode {
    JinjaNodeType type;
    uint32_t line;
    uint16_t height;    /* of the expression below */
    JinjaSlot variable; /* ITEM, ATTRIBUTE: whose field it is */
    JinjaString *field; /* and which: the entry of that name, if the variable is a dictionary with one; else NULL */
    union {
        JinjaValue constant;
        struct {
            JinjaString *name;
            JinjaString *attribute; /* NODE_NSREF */
            JinjaSlot slot;
            bool store;
            bool exported; /* a store at the top level */
        } name;
        JinjaNodes items; /* TUPLE, LIST, CONCAT, OUTPUT */
        struct {
            JinjaNodes keys, values;
        } dict;
        struct {
            JinjaNode *test, *then, *otherwise; /* otherwise may be NULL */
        } condition;
        struct {
            JinjaNode *left, *right;
            JinjaOperator operation;
            JinjaTerm *terms; /* of a sum that is written out; NULL for others */
            size_t n_terms;
        } binary;           /* AND, OR, BINARY */
        JinjaNode *operand; /* NOT, NEGATE, POSITIVE */
        struct {
            JinjaNode *first;
            JinjaNodes rest;
            JinjaOperator *operators;
        } compare;
        struct {
            JinjaNode *object;
            JinjaValue name;
            const JinjaBuiltin *string_method, *list_method, *dict_method; /* of that name, NULL: none */
        } attribute;
        struct {
            JinjaNode *object, *argument;
        } item;
        struct {
            JinjaNode *start, *stop, *step; /* each may be NULL */
        } slice;
        struct {
            JinjaNode *callee;
            JinjaCallArguments arguments;
        } call;
        struct {
            JinjaNode *subject; /* NULL in a filter block */
            JinjaString *name;
            const JinjaBuiltin *builtin; /* NULL: unknown, fails when it is reached */
            JinjaCallArguments arguments;
        } filter; /* and TEST */
        struct {
            JinjaNode *test;
            JinjaNodes body, elifs, otherwise; /* elifs: NODE_IF with test and body */
        } branch;
        struct {
            JinjaNode *target, *iterable, *test, *test_target;
            JinjaNodes body, otherwise;
            bool recursive, extended, has_otherwise;
            uint32_t n_slots; /* of a recursive loop's function */
            uint32_t loop_slot;
            JinjaScope body_scope, test_scope, otherwise_scope;
        } loop;
        struct {
            JinjaNode *target, *value;
            JinjaNode *filter; /* SET_BLOCK, may be NULL */
            JinjaNodes body;
            JinjaScope scope;
        } set;
        struct {
            JinjaNode *filter;
            JinjaNodes body;
            JinjaScope scope;
        } filter_block;
        struct {
            JinjaNodes targets, values, body;
            JinjaScope scope;
        } with;
        JinjaFunctionNode *function; /* MACRO, GENERATION */
        struct {
            JinjaFunctionNode *function;
            JinjaNode *call;
        } call_block;
        struct {
            JinjaNode *value;
            JinjaNodes body;
            JinjaScope scope;
        } autoescape;
        struct {
            JinjaString *name;
            JinjaNodes body;
            JinjaScope scope;
            uint32_t n_slots, self_slot, super_slot;
            bool uses_self, uses_super, required;
        } block;
        struct {
            JinjaNode *source;
        } load_template;
    };
};

struct ChatTemplate {
    Arena arena;
    uint64_t seed;
    JinjaNodes body;
    JinjaScope scope;
    uint32_t n_slots;
    bool uses_self;
    uint32_t self_slot;
    JinjaNodes blocks;      /* all block statements, nested ones too */
    JinjaString **interned; /* open-addressed, by hash; NULL free */
    size_t n_interned, interned_size;
};

enum { JINJA_MAX_HEIGHT = 200, JINJA_MAX_SOURCE = 4 * 1024 * 1024 };

/* What compiling needs while it runs. A failure is stored once; every function then returns NULL or false. */
typedef enum JinjaLateStage { LATE_SYNTAX, LATE_SYMBOLS, LATE_CODE, LATE_STAGES } JinjaLateStage;

typedef struct JinjaCompiler {
    ChatTemplate *chat_template;
    ImpStatus status;
    struct {
        uint32_t line; /* 0: nothing to say */
        char message[200];
    } late[LATE_STAGES]; /* what Python says of the code that Jinja2 makes, when all of it is made: stage by stage */
} JinjaCompiler;

bool jinja_compile_fail(JinjaCompiler *compiler, uint32_t line, const char *format, ...) IMP_PRINTF(3, 4);
/* For a failure that is one only when nothing else is wrong; the first of a stage stays. */
void jinja_compile_fail_late(JinjaCompiler *compiler, JinjaLateStage stage, uint32_t line, const char *format, ...)
    IMP_PRINTF(4, 5);
void *jinja_compile_alloc(JinjaCompiler *compiler, size_t count, size_t size);
/* A string whose hash and length are computed, so that threads may share it; the same one for the same short text.
 * `bytes` are borrowed. */
JinjaString *jinja_compile_string(JinjaCompiler *compiler, const char *bytes, size_t length);

/* The template's own string of that text; NULL: it has none. */
JinjaString *jinja_find_interned(const ChatTemplate *chat_template, const char *bytes, size_t length);

/* Parses into chat_template->body. */
bool jinja_parse(JinjaCompiler *compiler, const char *source, size_t length);
/* Binds names to slots, looks up filters and tests, checks what Jinja2's compiler checks. */
bool jinja_resolve(JinjaCompiler *compiler);

#endif
