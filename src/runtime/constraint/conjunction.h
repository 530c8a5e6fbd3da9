/*
 * conjunction.h - demands on one value, while a goal is worked out.
 *
 * An atom is one demand that a keyword makes ("if it is a string, it has at least 3 characters"). The negation of an atom is
 * a choice of alternatives, each a list of atoms. A conjunction collects atoms; choices among them wait in a list until the
 * goal branches over them. Conjunctions are copied at each branch, so their lists are persistent.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_CONJUNCTION_H
#define IMP_RUNTIME_CONSTRAINT_CONJUNCTION_H

#include "runtime/constraint/shape.h"

#include <string.h>

enum {
    TYPE_NULL = 1,
    TYPE_FALSE = 2,
    TYPE_TRUE = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127,
};

typedef struct Literal {
    const SchemaNode *node;
    bool negated;
} Literal;

typedef enum AtomKind {
    ATOM_LITERAL,        /* `literal` holds */
    ATOM_CHOICE,         /* one of `choice` holds */
    ATOM_TYPES,          /* the type is one of `types`, numbers in `form` */
    ATOM_SCALARS,        /* equal to one of `values` (negated: to none); no arrays or objects among them */
    ATOM_BOUND,          /* if a number: `upper` ? <= : >= `number`, strictly when `exclusive` */
    ATOM_MULTIPLE,       /* if a number: a multiple of `number` (negated: none) */
    ATOM_PATTERN,        /* if a string: matches `dfa` (negated: does not) */
    ATOM_LENGTH,         /* if a string: min … max characters */
    ATOM_ITEM_COUNT,     /* if an array: min … max items */
    ATOM_ITEM_GROUP,     /* if an array: prefixItems and items */
    ATOM_ITEM,           /* if an array: `literal` for the item at index `min`, if there */
    ATOM_CONTAINS,       /* if an array: min … max items from index `from` satisfy `literal` */
    ATOM_UNIQUE,         /* if an array: all items differ */
    ATOM_PROPERTY_COUNT, /* if an object: min … max properties */
    ATOM_OBJECT_GROUP,   /* if an object: properties, patternProperties and additionalProperties */
    ATOM_PROPERTY,       /* if an object: `literal` for property `name`, if there */
    ATOM_REQUIRED,       /* if an object: has property `name` */
    ATOM_NAMES,          /* if an object: every key satisfies `literal` */
    ATOM_DEPENDENT,      /* if an object with property `name`: has all of `names` */
    ATOM_EXISTS,         /* if an object: some key outside `group`, or matching `dfa`, has a value that satisfies `literal` */
    ATOM_UNEVALUATED_PROPERTIES, /* `literal` for properties that nothing inside `scope` looked at */
    ATOM_UNEVALUATED_ITEMS,
    ATOM_KINDS
} AtomKind;

typedef struct NameList {
    const char *const *texts;
    const size_t *lengths;
    size_t count;
} NameList;

/* Names by their bytes. */
static inline int name_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

typedef struct ObjectGroup {
    NameList names;            /* ascending */
    const Literal *properties; /* [names.count] */
    size_t n_patterns;
    const Dfa *const *patterns;
    const Literal *pattern_literals; /* [n_patterns] */
    bool has_additional;
    Literal additional;
} ObjectGroup;

typedef struct ItemGroup {
    size_t n_prefix;
    const Literal *prefix;
    bool has_rest;
    Literal rest;
} ItemGroup;

typedef struct AtomList AtomList;

typedef struct Choice {
    const AtomList *alternatives;
    size_t count;
    bool any_of; /* alternatives may hold together: inside a scope it matters which do */
} Choice;

typedef struct Atom {
    AtomKind kind;
    bool negated, exclusive, upper;
    uint8_t types;
    NumberForm form;
    uint32_t scope;
    uint64_t min, max, from;
    Decimal number;
    bool number_is_double;
    Literal literal;
    const char *name;
    size_t name_length;
    const char *place; /* the keyword's JSON pointer */
    union {
        const Dfa *dfa;
        const ObjectGroup *object_group;
        const ItemGroup *item_group;
        const NameList *names;
        const Choice *choice;
        const JsonValue *const *values; /* [n_values] */
    } as;
    size_t n_values;
} Atom;

struct AtomList {
    Atom *atoms;
    size_t count, capacity;
};

typedef struct AtomCell {
    const struct AtomCell *next;
    Atom atom;
} AtomCell;

typedef struct Conjunction {
    uint8_t types;
    NumberForm form;
    const char *unique; /* the place of the keyword that asks for different items; NULL without one */
    NumberBound low, high;
    uint64_t min_length, max_length, min_items, max_items, min_properties, max_properties;
    const AtomCell *lists[ATOM_KINDS]; /* atoms that are not wholly said by the fields above, newest first */
    const AtomCell *applied;           /* literals already taken apart */
} Conjunction;

/* Compile-time state shared by goals, keywords and conjunctions. */
typedef struct GoalSet GoalSet;

ImpStatus atom_list_add(Arena *arena, AtomList *list, Atom atom);
/* The alternatives of "not atom". IMP_ERR_UNSUPPORTED, naming the place, for what cannot be decided. */
ImpStatus atom_negate(Arena *arena, const Atom *atom, Choice *out);

Conjunction conjunction_anything(void);
/* Adds a demand other than a literal or a choice, whose meaning needs the goal set. */
ImpStatus conjunction_add(Arena *scratch, Conjunction *conjunction, const Atom *atom);
/* Adds the atom to its list, whatever it is. */
ImpStatus conjunction_keep(Arena *scratch, Conjunction *conjunction, const Atom *atom);

/* The demands of a schema's keywords, in the drafts' order. Everything lives in `arena`; patterns are kept in `patterns`. */
typedef struct KeywordContext {
    Arena *arena;   /* lives as long as the shapes: automata */
    Arena *scratch; /* lives until the shapes are done */
    SchemaDocument *document;
    struct KnownPattern *patterns;
    size_t n_patterns, pattern_capacity, n_pattern_states;
    bool demand_discriminators; /* the property that a oneOf's discriminator names has to be there */
    bool met_discriminator;     /* that would make a difference */
} KeywordContext;

ImpStatus keyword_atoms(KeywordContext *context, const SchemaNode *node, AtomList *out);
ImpStatus keyword_const_atoms(KeywordContext *context, const JsonValue *value, const char *place, AtomList *out);
void keyword_context_free(KeywordContext *context);

/* The pattern behind a `format`; NULL for names that assert nothing in this draft. */
const char *format_pattern(const char *name, SchemaDraft draft);

#endif
