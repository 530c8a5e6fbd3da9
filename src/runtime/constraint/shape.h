/*
 * shape.h - what a JSON Schema becomes: goals and shapes.
 *
 * A goal is what one value has to satisfy; it is a union of shapes, each a conjunction of demands on one JSON type whose
 * parts are goals again. Negation, implication and exclusive choice are gone: they were worked out when the goal was made.
 * Every goal and shape that is kept can be satisfied by some finite value, so a reader that stays inside a shape never has
 * to turn back. Immutable once built.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_SHAPE_H
#define IMP_RUNTIME_CONSTRAINT_SHAPE_H

#include "runtime/constraint/dfa.h"
#include "runtime/constraint/json_value.h"
#include "runtime/constraint/schema.h"

#define SHAPE_UNBOUNDED UINT64_MAX

enum { SHAPE_MAX_CONTAINS = 3, SHAPE_MAX_EXISTS = 3 };

/* Goals and shapes begin with an id: equal schema texts give equal ids, whatever the addresses are. */
typedef struct Goal Goal;

typedef struct NumberBound {
    bool present, exclusive;
    Decimal value;
} NumberBound;

typedef enum NumberForm {
    NUMBER_ANY,
    NUMBER_INTEGRAL,     /* the value is an integer, 1.0 included */
    NUMBER_FRACTIONAL,   /* it is none */
    NUMBER_INTEGER_TEXT, /* draft 4: written without point and exponent */
    NUMBER_FLOAT_TEXT,
} NumberForm;

typedef struct NumberShape {
    uint32_t id;
    NumberForm form;
    NumberBound low, high;           /* for numbers written as integers */
    NumberBound float_low, float_high; /* for the others: they hold after rounding to double too */
    bool has_step;
    Decimal step;                    /* least common multiple of every multipleOf, and of 1 for integers */
    const double *double_steps;      /* [n_double_steps] steps written with a point: the quotient of doubles is integral too */
    size_t n_double_steps;
    const Decimal *refused_steps;    /* [n_refused_steps] must not be a multiple of these */
    size_t n_refused_steps;
    const Decimal *allowed;          /* [n_allowed] ascending, the only values, when `listed` */
    const bool *integers;            /* [n_allowed] those that the schema writes as integers; NULL: it does not matter */
    size_t n_allowed;
    bool listed;
    const Decimal *refused;          /* [n_refused] values that may not be */
    size_t n_refused;
    bool (*is_taken)(const void *context, Decimal value, bool is_float); /* what else may not be; NULL: nothing */
    const void *taken_context;
    size_t n_taken; /* values that it tells of, at most */
} NumberShape;

/* Either a sorted list of strings, or an automaton (NULL: any text) with a range of lengths in characters. */
typedef struct StringShape {
    uint32_t id;
    bool listed;
    const char *const *strings; /* [n_strings] by bytes ascending */
    const size_t *lengths;
    size_t n_strings;
    const Dfa *dfa;
    uint32_t min_length, max_length; /* max DFA_UNBOUNDED: none */
} StringShape;

typedef struct ArrayShape {
    uint32_t id;
    uint64_t min_items, max_items;
    const char *unique;                /* all items differ: the place of the keyword; NULL otherwise */
    size_t n_positions;                /* positions with goals of their own; all later ones are alike */
    size_t n_contains;
    struct {
        uint64_t min, max, from;       /* items from index `from` on that satisfy it */
    } contains[SHAPE_MAX_CONTAINS];
    const Goal **goals;                /* [n_positions + 1][1 << n_contains]: an item that counts for these; NULL: none can */
} ArrayShape;

typedef struct ObjectName {
    const char *text;
    size_t length;
    uint32_t id;           /* place in ShapeSet.names */
    bool is_required;
    const Goal **goals;    /* [1 << n_exists]; NULL where the key cannot be */
} ObjectName;

typedef struct ObjectShape {
    uint32_t id;
    uint64_t min_properties, max_properties;
    size_t n_exists;                 /* "some key of this class has such a value": endlessly many free keys can */
    size_t n_names;                  /* names with goals of their own, ascending */
    ObjectName *names;
    const uint64_t *allowed;         /* [words] names of the whole set that may be keys */
    const uint64_t *required;        /* [words] */
    const uint64_t *own;             /* [words] those of names[] that the automaton of free keys accepts too */
    size_t n_dependents;             /* when the key `id` is there, so are the keys `needs` */
    struct ObjectDependent {
        uint32_t id;
        const char *text;
        size_t length, n_needs;
        const char *const *need_texts;
        const size_t *need_lengths;
        const uint64_t *needs;       /* [words], of the whole closure */
    } *dependents;
    const Dfa *free_keys;            /* other keys by class (label - 1); NULL: all in class 0, or none when there is no class */
    size_t n_classes;
    const Goal **class_goals;        /* [n_classes][1 << n_exists] */
    struct ObjectDraft *draft;       /* what shape_finish still needs; NULL afterwards */
} ObjectShape;

struct Goal {
    uint32_t id;
    bool satisfiable, null_allowed, false_allowed, true_allowed;
    bool counted, counted_exactly;       /* shape_count.c */
    uint32_t n_values, n_containers;     /* different values, of them arrays and objects: at least so many; DFA_UNBOUNDED: endless */
    size_t n_numbers, n_strings, n_arrays, n_objects;
    const NumberShape **numbers;
    const StringShape **strings;
    ArrayShape **arrays;
    ObjectShape **objects;
};

typedef struct ShapeSet {
    const Goal *root;
    size_t n_names, words;     /* all names of all object shapes, ascending by bytes; 64-bit words that hold a bit each */
    const char *const *names;
    const size_t *name_lengths;
    size_t n_goals, n_shapes;
} ShapeSet;

/* Works out the whole schema. Everything lives in `arena`. */
ImpStatus shape_compile(Arena *arena, SchemaDocument *document, ShapeSet **out);

/* Enough items can still follow for the array to end, `counts` of the first `index` items having counted for each contains. */
bool array_can_finish(const ArrayShape *shape, uint64_t index, const uint64_t *counts);

/* Finds out how many values a goal has; an array whose items must differ needs that. */
void goal_count(Goal *goal);
/* Ways to go on with an array of `count` items, at least. */
uint32_t array_ways(const ArrayShape *shape, uint64_t count);
/* a * b and a + b, DFA_UNBOUNDED where that is too many to count. */
uint32_t count_product(uint32_t a, uint32_t b);
uint32_t count_sum(uint32_t a, uint32_t b);
/* A whole text satisfies some string shape of the goal. */
bool goal_accepts_string(const Goal *goal, const char *text, size_t length);

#endif
