/*
 * value.h - the values a template computes with, and the state of one rendering.
 *
 * Values are immutable once made (namespaces, loops, iterators, cyclers and joiners excepted), live in the arena of
 * their rendering and are freed together with it. Text is UTF-8; a lone surrogate from a template's escape is three
 * bytes.
 */
#ifndef IMP_TEXT_TEMPLATE_VALUE_H
#define IMP_TEXT_TEMPLATE_VALUE_H

#include "core/arena.h"
#include "core/strbuf.h"
#include "text/template/chat_template.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum JinjaKind {
    JINJA_MISSING, /* an unset slot or an argument that was not passed; no expression yields it */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_BIG, /* an integer beyond 64 bits; to templates an int as any other (big.h) */
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_RANGE,
    JINJA_VIEW,     /* dict.keys(), .values(), .items() */
    JINJA_ITERATOR, /* what map, select, … return: consumed once */
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_FUNCTION, /* a global function or type */
    JINJA_METHOD,   /* a method bound to a value */
    JINJA_CYCLER,
    JINJA_JOINER,
    JINJA_SELF,  /* `self`: the template's blocks */
    JINJA_BLOCK, /* self.name */
    JINJA_KINDS
} JinjaKind;

typedef struct JinjaState JinjaState;
typedef struct JinjaBig JinjaBig;
typedef struct JinjaString JinjaString;
typedef struct JinjaUndefined JinjaUndefined;
typedef struct JinjaList JinjaList;
typedef struct JinjaDict JinjaDict;
typedef struct JinjaRange JinjaRange;
typedef struct JinjaView JinjaView;
typedef struct JinjaIterator JinjaIterator;
typedef struct JinjaLoop JinjaLoop;
typedef struct JinjaMacro JinjaMacro;
typedef struct JinjaMethod JinjaMethod;
typedef struct JinjaBuiltin JinjaBuiltin;
typedef struct JinjaCycler JinjaCycler;
typedef struct JinjaJoiner JinjaJoiner;
typedef struct JinjaNode JinjaNode;

typedef struct JinjaValue {
    JinjaKind kind;
    uint32_t tag; /* JINJA_TUPLE: 1 for the (grouper, list) pairs of groupby; JINJA_STRING: JINJA_TEMPLATE_DATA */
    union {
        bool boolean;
        int64_t integer;
        double number;
        JinjaBig *big;
        JinjaString *string;
        JinjaUndefined *undefined;
        JinjaList *list; /* and tuple */
        JinjaDict *dict; /* and namespace */
        JinjaRange *range;
        JinjaView *view;
        JinjaIterator *iterator;
        JinjaLoop *loop;
        JinjaMacro *macro;
        const JinjaBuiltin *function;
        JinjaMethod *method;
        JinjaCycler *cycler;
        JinjaJoiner *joiner;
        const JinjaNode *block;
    };
} JinjaValue;

#define JINJA_UNCOUNTED SIZE_MAX

enum { JINJA_TEMPLATE_DATA = 1 }; /* text outside of all tags, which nothing escapes */

/* A buffer that strings made by concatenation share: the one that ends where the buffer ends may grow in place. */
typedef struct JinjaStringBuffer {
    size_t used, capacity;
    char bytes[];
} JinjaStringBuffer;

struct JinjaString {
    const char *data; /* not NUL-terminated */
    size_t length;
    size_t n_chars; /* code points, or JINJA_UNCOUNTED */
    uint64_t hash;  /* 0: not computed */
    JinjaStringBuffer *buffer;
    bool markup;   /* made by escape or safe: joins escape the other side */
    bool interned; /* one of the template's own names and literals: the only one of its text */
};

/* memcmp() == 0 without a call for the short texts that roles, keys and tags are. */
static inline bool jinja_same_bytes(const char *a, const char *b, size_t length)
{
    uint64_t x, y, x_end, y_end;
    if (length > 16) return memcmp(a, b, length) == 0;
    if (length >= 8) {
        memcpy(&x, a, 8), memcpy(&y, b, 8);
        memcpy(&x_end, a + length - 8, 8), memcpy(&y_end, b + length - 8, 8);
        return ((x ^ y) | (x_end ^ y_end)) == 0;
    }
    if (length >= 4) {
        uint32_t p, q, p_end, q_end;
        memcpy(&p, a, 4), memcpy(&q, b, 4);
        memcpy(&p_end, a + length - 4, 4), memcpy(&q_end, b + length - 4, 4);
        return ((p ^ q) | (p_end ^ q_end)) == 0;
    }
    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i]) return false;
    }
    return true;
}

static inline bool jinja_same_string(const JinjaString *a, const JinjaString *b)
{
    if (a == b) return true;
    if (a->length != b->length || (a->interned && b->interned)) return false;
    return jinja_same_bytes(a->data, b->data, a->length);
}

struct JinjaUndefined {
    const char *hint;  /* the message, when it is not made of the two below */
    JinjaValue object; /* JINJA_MISSING: `name` was a variable */
    JinjaValue name;
};

struct JinjaList {
    JinjaValue *items;
    size_t n;
};

typedef struct JinjaEntry {
    JinjaValue key, value;
    uint64_t hash;
} JinjaEntry;

enum { JINJA_DICT_SCAN = 8 }; /* entries that are looked through without an index */

/* Insertion order, as in Python; looked up by scanning while small and by an open-addressed index after. */
struct JinjaDict {
    JinjaEntry *entries;
    size_t n, capacity;
    uint32_t *index;   /* entry number + 1, 0 free */
    size_t index_size; /* power of two; 0 while small */
    bool canonical;    /* no index, and keys that the template names are the template's own strings */
    bool lasting;      /* read before the rendering, which leaves it as it was */
};

struct JinjaRange {
    int64_t start, stop, step, n;
};

typedef enum JinjaViewKind { JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS } JinjaViewKind;

struct JinjaView {
    JinjaDict *dict;
    JinjaViewKind part;
};

struct JinjaMethod {
    const JinjaBuiltin *builtin;
    JinjaValue self;
};

struct JinjaCycler {
    JinjaList items;
    size_t position;
};

struct JinjaJoiner {
    JinjaValue separator;
    bool used;
};

/* Walks anything that can be iterated, without allocating. */
typedef struct JinjaCursor {
    JinjaKind kind;
    JinjaViewKind part;
    size_t position, n;
    union {
        const JinjaValue *items;
        const JinjaString *string;
        const JinjaDict *dict;
        const JinjaRange *range;
        JinjaIterator *iterator;
        JinjaLoop *loop;
    };
} JinjaCursor;

typedef enum JinjaNext { JINJA_NEXT_FAILED, JINJA_NEXT_ITEM, JINJA_NEXT_END } JinjaNext;

struct JinjaIterator {
    JinjaNext (*next)(JinjaState *state, JinjaIterator *iterator, JinjaValue *out);
    const char *type_name;
    JinjaCursor source;
    bool started, done;
    void *private_data;
};

typedef struct JinjaNamed {
    JinjaString *name;
    JinjaValue value;
} JinjaNamed;

/* The arguments of one call. */
typedef struct JinjaArguments {
    const JinjaValue *positional;
    size_t n_positional;
    const JinjaNamed *named;
    size_t n_named;
} JinjaArguments;

enum { JINJA_MAX_PARAMETERS = 8, JINJA_VARIADIC = 255 };

typedef enum JinjaCallStyle {
    JINJA_PYTHON_STYLE, /* a def: positional or keyword, its messages name the missing ones */
    JINJA_C_STYLE,      /* a built-in of CPython that takes positional arguments only */
    JINJA_C_KEYWORDS,   /* a built-in of CPython that takes keywords too */
} JinjaCallStyle;

/* A filter, test, global function or method. `call` gets its parameters in order, those not passed as JINJA_MISSING;
 * with n_parameters == JINJA_VARIADIC `raw` gets the arguments as they were. `self` is the filtered, tested or bound
 * value. */
struct JinjaBuiltin {
    const char *name;
    const char *python_name; /* in messages; NULL: as name */
    JinjaCallStyle style;
    uint8_t hidden; /* arguments that Python counts before ours: self, environment */
    uint8_t n_required;
    uint8_t n_parameters;
    const char *parameters[JINJA_MAX_PARAMETERS];
    bool (*call)(JinjaState *state, const JinjaValue *self, const JinjaValue *arguments, JinjaValue *out);
    bool (*raw)(JinjaState *state, const JinjaValue *self, const JinjaArguments *arguments, JinjaValue *out);
    bool forbidden; /* mutates: the sandbox refuses it */
    bool counted;   /* JINJA_C_STYLE whose messages count like "takes at least 1 argument (0 given)" */
};

/* Variables of one running function (the template, a macro, a recursive loop's body). */
typedef struct JinjaActivation {
    struct JinjaActivation *parent; /* where the function was defined */
    JinjaValue *slots;
} JinjaActivation;

struct JinjaLoop {
    JinjaCursor cursor;
    JinjaValue iterable;
    int64_t index0, length;            /* length -1: not counted yet */
    JinjaValue after, current, before; /* JINJA_MISSING: none */
    JinjaList last_changed;
    bool has_changed;
    const JinjaNode *recursive;  /* the for statement, when it is recursive */
    JinjaActivation *activation; /* where the recursive loop was entered */
    int64_t depth0;
};

struct JinjaMacro {
    const JinjaNode *node;
    JinjaActivation *closure;
};

enum { JINJA_MAX_NESTING = 6000, JINJA_MAX_CAPTURES = 512 };

typedef struct JinjaChunk JinjaChunk;
typedef struct JinjaChanged JinjaChanged;

struct JinjaState {
    const ChatTemplate *chat_template;
    JinjaChunk *chunks;          /* memory of the values */
    char *free_start, *free_end; /* what is left of the current chunk */
    size_t memory_used;          /* in all chunks */
    uint64_t seed;               /* of string hashes */
    uint64_t steps_left;
    TemplateLimits limits;
    uint32_t line;    /* of the statement that runs */
    uint32_t nesting; /* evaluations on the C stack */
    uint32_t depth;   /* macro calls and recursive loops */
    bool autoescape;
    ImpStatus status;  /* the first failure; its sentence is in imp_last_error() */
    StrBuf *out;       /* where statements write: the caller's buffer or a capture */
    StrBuf **captures; /* [JINJA_MAX_CAPTURES], NULL: none yet; kept for reuse */
    size_t n_captures;
    JinjaDict *variables;
    JinjaChanged *changed; /* what of the variables is to be put back */
    JinjaDict *exported;   /* assignments at the top level, for blocks; NULL without blocks */
    JinjaValue block_text; /* what a filter block or set block wrote, for its filter */
};

/* ---- failures ---- */

/* Puts "template line N: " before the sentence, keeps the first failure and returns false. */
bool jinja_raise(JinjaState *state, const char *format, ...) IMP_PRINTF(2, 3);
bool jinja_raise_limit(JinjaState *state, const char *format, ...) IMP_PRINTF(2, 3);
/* Takes `n` steps; false when they are used up. */
bool jinja_charge_slow(JinjaState *state, uint64_t n);
static inline bool jinja_charge(JinjaState *state, uint64_t n)
{
    if (state->steps_left <= n) return jinja_charge_slow(state, n);
    state->steps_left -= n;
    return true;
}
/* What work on `bytes` of text costs. */
static inline bool jinja_charge_bytes(JinjaState *state, size_t bytes) { return jinja_charge(state, 1 + bytes / 16); }
/* One more C frame; pair with jinja_leave. */
bool jinja_enter_failed(JinjaState *state);
static inline bool jinja_enter(JinjaState *state)
{
    return ++state->nesting <= JINJA_MAX_NESTING || jinja_enter_failed(state);
}
static inline void jinja_leave(JinjaState *state) { state->nesting--; }

/* ---- memory ---- */

/* Zeroed; NULL after raising when the rendering's memory is used up. */
void *jinja_alloc(JinjaState *state, size_t count, size_t size);
/* As jinja_alloc, not zeroed. */
void *jinja_alloc_chunk(JinjaState *state, size_t bytes);
static inline void *jinja_alloc_raw(JinjaState *state, size_t bytes)
{
    if (bytes > (size_t)(state->free_end - state->free_start)) return jinja_alloc_chunk(state, bytes);
    void *memory = state->free_start;
    state->free_start += (bytes + 15) & ~(size_t)15; /* chunks are multiples of 16 */
    return memory;
}
/* A copy with a NUL behind it. */
char *jinja_copy_text(JinjaState *state, const char *bytes, size_t length);
void jinja_free_memory(JinjaState *state);

/* ---- text under construction ---- */

/* memcpy() without a call for texts as short as those of templates. */
static inline void jinja_copy_bytes(char *to, const char *bytes, size_t length)
{
    if (length > 16) {
        memcpy(to, bytes, length);
    } else if (length >= 8) { /* two copies of a fixed size, which may overlap */
        memcpy(to, bytes, 8);
        memcpy(to + length - 8, bytes + length - 8, 8);
    } else if (length >= 4) {
        memcpy(to, bytes, 4);
        memcpy(to + length - 4, bytes + length - 4, 4);
    } else if (length > 0) {
        to[0] = bytes[0];
        to[length / 2] = bytes[length / 2];
        to[length - 1] = bytes[length - 1];
    }
}
void jinja_append_slow(JinjaState *state, StrBuf *text, const char *bytes, size_t length);
/* Sticky: check state->status. What fits is copied at once. */
static inline void jinja_append(JinjaState *state, StrBuf *text, const char *bytes, size_t length)
{
    const size_t limit = state->limits.output_bytes, end = text->length + length;
    const bool fits = end < text->capacity && (limit == 0 || end <= limit);
    if (!fits || state->status != IMP_OK) {
        jinja_append_slow(state, text, bytes, length);
        return;
    }
    jinja_copy_bytes(text->data + text->length, bytes, length);
    text->data[end] = '\0';
    text->length = end;
}
void jinja_puts(JinjaState *state, StrBuf *text, const char *bytes);
void jinja_append_char(JinjaState *state, StrBuf *text, uint32_t code_point);
void jinja_pad(JinjaState *state, StrBuf *text, const char *fill, size_t fill_length, size_t count);
/* A scratch buffer from the pool; finish or drop it, innermost first. NULL after raising. */
StrBuf *jinja_capture(JinjaState *state);
bool jinja_capture_finish(JinjaState *state, StrBuf *text, JinjaValue *out);
void jinja_capture_drop(JinjaState *state, StrBuf *text);

/* ---- making values ---- */

static inline JinjaValue jinja_none(void) { return (JinjaValue){.kind = JINJA_NONE}; }
static inline JinjaValue jinja_missing(void) { return (JinjaValue){.kind = JINJA_MISSING}; }
static inline JinjaValue jinja_bool(bool value) { return (JinjaValue){.kind = JINJA_BOOL, .boolean = value}; }
static inline JinjaValue jinja_int(int64_t value) { return (JinjaValue){.kind = JINJA_INT, .integer = value}; }
static inline JinjaValue jinja_float(double value) { return (JinjaValue){.kind = JINJA_FLOAT, .number = value}; }
bool jinja_string(JinjaState *state, const char *bytes, size_t length, JinjaValue *out); /* copies */
bool jinja_view(JinjaState *state, const char *bytes, size_t length, JinjaValue *out);   /* borrows */
bool jinja_text(JinjaState *state, const char *text, JinjaValue *out);                   /* borrows, NUL-terminated */
bool jinja_list(JinjaState *state, size_t n, JinjaValue *out);                           /* items JINJA_MISSING */
bool jinja_tuple(JinjaState *state, size_t n, JinjaValue *out);
bool jinja_pair(JinjaState *state, JinjaValue first, JinjaValue second, JinjaValue *out);
bool jinja_dict(JinjaState *state, size_t capacity, JinjaValue *out);
bool jinja_undefined_name(JinjaState *state, JinjaString *name, JinjaValue *out);
bool jinja_undefined_member(JinjaState *state, JinjaValue object, JinjaValue name, JinjaValue *out);
bool jinja_undefined_hint(JinjaState *state, const char *hint, JinjaValue *out);
/* What the variables of a rendering start from: their memory and how much it is. */
const JinjaState *jinja_values_state(const TemplateValues *values);
/* Growing list for builders. */
typedef struct JinjaItems {
    JinjaValue *items;
    size_t n, capacity;
} JinjaItems;
bool jinja_push(JinjaState *state, JinjaItems *items, JinjaValue value);

/* ---- dictionaries ---- */

/* Sets or replaces; fails on an unhashable key. */
bool jinja_dict_set(JinjaState *state, JinjaDict *dict, JinjaValue key, JinjaValue value);
/* To call before changing a dictionary that may be one of the variables: it becomes the rendering's own until
 * jinja_dicts_restore puts all such back. */
bool jinja_dict_own(JinjaState *state, JinjaDict *dict);
void jinja_dicts_restore(JinjaState *state);
/* NULL when absent (check state->status for an unhashable key). */
JinjaValue *jinja_dict_find(JinjaState *state, const JinjaDict *dict, const JinjaValue *key);
JinjaValue *jinja_dict_find_string(JinjaState *state, const JinjaDict *dict, const JinjaString *key);
/* The same for an interned key, which a message's dictionary holds under the same string: no call, no comparing. */
static inline JinjaValue *jinja_dict_find_interned(JinjaState *state, const JinjaDict *dict, const JinjaString *key)
{
    if (!dict->canonical) return jinja_dict_find_string(state, dict, key);
    for (JinjaEntry *entry = dict->entries, *end = entry + dict->n; entry < end; entry++) {
        if (entry->key.string == key) return &entry->value;
    }
    return NULL;
}
static inline JinjaValue *jinja_dict_find_name(JinjaState *state, const JinjaDict *dict, const JinjaString *key)
{
    if (!key->interned) return jinja_dict_find_string(state, dict, key);
    return jinja_dict_find_interned(state, dict, key);
}
uint64_t jinja_string_hash(uint64_t seed, const char *bytes, size_t length); /* never 0 */

/* ---- what values are ---- */

bool jinja_truthy(JinjaState *state, const JinjaValue *value);
/* The same, without a call for what tests nearly always are. */
static inline bool jinja_is_true(JinjaState *state, const JinjaValue *value)
{
    return value->kind == JINJA_BOOL ? value->boolean : jinja_truthy(state, value);
}
/* As Python's ==, never fails but by depth. */
bool jinja_equal(JinjaState *state, const JinjaValue *a, const JinjaValue *b);
bool jinja_identical(const JinjaValue *a, const JinjaValue *b);
/* How containers find their members: the same one or an equal one. */
static inline bool jinja_matches(JinjaState *state, const JinjaValue *a, const JinjaValue *b)
{
    return jinja_identical(a, b) || jinja_equal(state, a, b);
}
/* -1, 0, 1 in *order; raises TypeError's message naming `symbol` when the types have no order. NaN gives 2. */
bool jinja_order(JinjaState *state, const JinjaValue *a, const JinjaValue *b, const char *symbol, int *order);
const char *jinja_type_name(const JinjaValue *value);
bool jinja_length(JinjaState *state, const JinjaValue *value, size_t *out); /* len(): raises for what has none */
bool jinja_has_length(const JinjaValue *value);
bool jinja_is_iterable(const JinjaValue *value);
bool jinja_contains(JinjaState *state, const JinjaValue *container, const JinjaValue *item, bool *out);
/* Raises UndefinedError for an undefined value. */
bool jinja_fail_undefined(JinjaState *state, const JinjaValue *undefined);
/* What it raises. */
const char *jinja_undefined_message(JinjaState *state, const JinjaValue *undefined);

static inline bool jinja_is_string(const JinjaValue *value) { return value->kind == JINJA_STRING; }
static inline bool jinja_is_number(const JinjaValue *value)
{
    return value->kind >= JINJA_BOOL && value->kind <= JINJA_FLOAT;
}
/* int and bool as Python's operator.index does; raises "… cannot be interpreted as an integer", and for what does not
 * fit into 64 bits what CPython's functions say of sizes. */
bool jinja_index(JinjaState *state, const JinjaValue *value, int64_t *out);

/* ---- iteration ---- */

bool jinja_iterate(JinjaState *state, const JinjaValue *value, JinjaCursor *out);
JinjaNext jinja_next(JinjaState *state, JinjaCursor *cursor, JinjaValue *out);
/* list(value) */
bool jinja_collect(JinjaState *state, const JinjaValue *value, JinjaItems *out);
bool jinja_iterator(JinjaState *state, const char *type_name,
                    JinjaNext (*next)(JinjaState *, JinjaIterator *, JinjaValue *), void *private_data,
                    JinjaValue *out);

/* ---- text of values ---- */

/* str() and repr() appended; sticky failure. */
void jinja_str(JinjaState *state, StrBuf *text, const JinjaValue *value);
void jinja_repr(JinjaState *state, StrBuf *text, const JinjaValue *value);
/* str(value) as a string value; a string is itself. */
bool jinja_to_string(JinjaState *state, const JinjaValue *value, JinjaValue *out);
/* repr as a NUL-terminated arena string for messages; "?" without memory. */
const char *jinja_repr_text(JinjaState *state, const JinjaValue *value);
size_t jinja_n_chars(JinjaString *string);
static inline bool jinja_is_ascii(JinjaString *string) { return jinja_n_chars(string) == string->length; }

#endif
