/*
 * goal.h - goals while they are worked out: sets of literals (a subschema, or the negation of one) that one value must
 * satisfy, each set once.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_GOAL_H
#define IMP_RUNTIME_CONSTRAINT_GOAL_H

#include "runtime/constraint/conjunction.h"

typedef enum GoalStage { GOAL_NEW, GOAL_OPEN, GOAL_BUILT } GoalStage;

typedef struct GoalEntry {
    Goal goal; /* first: a Goal of this set is an entry */
    GoalStage stage;
    const Literal *literals; /* [n_literals] sorted, none twice */
    size_t n_literals;
    bool reached; /* the root leads here */
    size_t number_capacity, string_capacity, array_capacity, object_capacity;
} GoalEntry;

/* A growing list of literals in the scratch arena. */
typedef struct LiteralList {
    Literal *literals;
    size_t count, capacity;
} LiteralList;

/* What an object shape needs until all goals are there. */
typedef struct ObjectDraft {
    const Dfa *parts[DFA_MAX_PARTS]; /* of the automaton of free keys */
    size_t n_parts;
    size_t names_part;    /* index of the part that propertyNames demands; DFA_MAX_PARTS without it */
    uint64_t *class_bits; /* [n_classes] accepted parts of each class */
    uint32_t *labels;     /* [n_classes] */
    size_t class_capacity;
    NameList required;
} ObjectDraft;

struct GoalSet {
    KeywordContext keywords;
    Arena *arena;
    Arena *scratch;
    SchemaDocument *document;
    GoalEntry **entries;
    size_t n_entries, entry_capacity;
    uint32_t *table;
    size_t table_size;
    AtomList **atoms; /* [atoms_capacity] by node number, NULL until asked for */
    size_t atoms_capacity;
    uint32_t *scope_parents; /* of each scope; scope 0 has no listener */
    size_t n_scopes, scope_capacity;
    size_t n_shapes, branches, depth;
};

ImpStatus literal_list_add(GoalSet *set, LiteralList *list, Literal literal);
ImpStatus goal_get(GoalSet *set, const LiteralList *literals, GoalEntry **out);
/* Works the goal out if that was not done; one that is being worked out right now counts as satisfiable. */
ImpStatus goal_satisfiable(GoalSet *set, GoalEntry *entry, bool *out);
ImpStatus goal_build(GoalSet *set, GoalEntry *entry);
/* `inner` is `outer` or lies inside it. */
bool scope_contains(const GoalSet *set, uint32_t outer, uint32_t inner);

/* Branches over the waiting choices and builds shapes of what is left. */
ImpStatus goal_expand(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry, size_t depth);

/* Turn a conjunction without choices into shapes of the goal (none when it is contradictory). */
ImpStatus build_number(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry);
ImpStatus build_string(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry);
ImpStatus build_array(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry);
ImpStatus build_object(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry);

/* Adds an object shape to the goal. */
ImpStatus push_object(GoalSet *set, GoalEntry *entry, ObjectShape *shape);

/* The demands on the value of property `name`; *allowed false when it cannot be there. */
ImpStatus property_literals(GoalSet *set, const Conjunction *conjunction, const char *name, size_t length,
                            LiteralList *out, bool *allowed);
/* A required property cannot be there, as far as can be told cheaply. */
ImpStatus object_contradicts(GoalSet *set, const Conjunction *conjunction, bool *out);

/* The automaton of all strings of the goal. */
ImpStatus goal_strings(GoalSet *set, const Goal *goal, const Dfa **out);

/* Last pass over all goals that the root leads to. */
ImpStatus shape_finish(GoalSet *set, GoalEntry *root, ShapeSet *out);
/* Makes the automaton of free keys anew from the classes whose goals can be satisfied. */
ImpStatus object_free_keys(GoalSet *set, ObjectShape *shape);

#endif
