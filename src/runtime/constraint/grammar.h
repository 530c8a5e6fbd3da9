/*
 * grammar.h - context-free grammars: GBNF, and the frames of tool calls around JSON.
 *
 * A rule is a choice of sequences; an element of a sequence is a set of characters, a rule, a JSON value along shapes, or
 * a token.
 * Running one follows every derivation at once; stacks are linked lists that share their tails.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_GRAMMAR_H
#define IMP_RUNTIME_CONSTRAINT_GRAMMAR_H

#include "runtime/constraint/shape.h"
#include "runtime/constraint/tape.h"

typedef enum GrammarKind {
    GRAMMAR_END,
    GRAMMAR_SET,
    GRAMMAR_RULE,
    GRAMMAR_JSON,
    GRAMMAR_TOKEN, /* a token that stands for no text */
} GrammarKind;

typedef struct GrammarElement {
    GrammarKind kind;
    uint32_t value; /* number of the set, rule or shape set; the token */
    uint32_t id;    /* of its place in the grammar: equal texts give equal ids */
} GrammarElement;

typedef struct GrammarRule {
    const char *name; /* NULL for rules made on the way */
    bool defined;
    GrammarElement **sequences; /* [n_sequences], each ended by GRAMMAR_END */
    size_t n_sequences, capacity;
} GrammarRule;

typedef struct Grammar {
    Arena *arena;
    GrammarRule *rules; /* rule 0 is the start once finished */
    size_t n_rules, rule_capacity;
    CharSet *sets;
    size_t n_sets, set_capacity;
    const ShapeSet **shapes;
    size_t n_shapes, shape_capacity;
    uint32_t start;
    size_t n_elements;
    uint32_t n_placed;
} Grammar;

/* Elements of a sequence that is being written. */
typedef struct GrammarSequence {
    GrammarElement *elements;
    size_t count, capacity;
} GrammarSequence;

/* Building: everything lives in the grammar's arena. */
ImpStatus grammar_add_rule(Grammar *grammar, const char *name, uint32_t *out);
ImpStatus grammar_add_sequence(Grammar *grammar, uint32_t rule, const GrammarSequence *sequence);
ImpStatus grammar_append(Grammar *grammar, GrammarSequence *sequence, GrammarElement element);
ImpStatus grammar_append_set(Grammar *grammar, GrammarSequence *sequence, const CharSet *set);
ImpStatus grammar_append_text(Grammar *grammar, GrammarSequence *sequence, const char *text, size_t length);
ImpStatus grammar_append_json(Grammar *grammar, GrammarSequence *sequence, const ShapeSet *shapes);
/* `unit` min to max times (SIZE_MAX: no end). */
ImpStatus grammar_append_repeat(Grammar *grammar, GrammarSequence *sequence, const GrammarSequence *unit, size_t min, size_t max);
/* A rule for the texts of the automaton. */
ImpStatus grammar_add_automaton(Grammar *grammar, const Dfa *dfa, uint32_t *out);
/* Removes what never ends, refuses left recursion and a start that has no text. */
ImpStatus grammar_finish(Grammar *grammar, uint32_t start);

/* GBNF text; `root` is the start. */
ImpStatus gbnf_parse(Arena *arena, const char *text, size_t length, const Grammar **out);

/* Running: states are offsets on the tape, 0 is no state. */
uint32_t grammar_begin(const Grammar *grammar, Tape *tape);
uint32_t grammar_step(const Grammar *grammar, Tape *tape, uint32_t state, unsigned char byte);
/* Behind `token`, where it is one of the tokens that may come; 0 elsewhere. */
uint32_t grammar_step_token(const Grammar *grammar, Tape *tape, uint32_t state, int32_t token);
/* Calls `found` for every token that may come. False without memory. */
typedef void GrammarToken(void *context, int32_t token);
bool grammar_tokens(const Grammar *grammar, Tape *tape, uint32_t state, GrammarToken *found, void *context);
bool grammar_complete(const Grammar *grammar, Tape *tape, uint32_t state);
uint64_t grammar_hash(const Grammar *grammar, const Tape *tape, uint32_t state);
/* All JSON values that are being read may meet themselves (json_may_meet). */
bool grammar_may_meet(const Tape *tape, uint32_t state);
/* The JSON state of the only derivation, 0 when there are several or it is elsewhere. */
uint32_t grammar_json_state(const Tape *tape, uint32_t state);
/* The shapes of the JSON value whose state that is. */
const ShapeSet *grammar_json_shapes(const Grammar *grammar, const Tape *tape, uint32_t state);

#endif
