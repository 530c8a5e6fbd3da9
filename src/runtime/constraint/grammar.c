/*
 * grammar.c - building grammars and making them safe to run.
 *
 * Two things are settled before a grammar runs. Rules that derive no finite text are removed, with every sequence that needs
 * them, so that no derivation is a dead end. And a rule that begins with itself is refused when something follows it there: its
 * stacks would grow without reading anything. (A rule that ends with itself needs no stack, whatever comes before.)
 */
#include "runtime/constraint/grammar.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RULES = 100000, MAX_ELEMENTS = 1000000 };

ImpStatus grammar_add_rule(Grammar *grammar, const char *name, uint32_t *out)
{
    if (grammar->n_rules == MAX_RULES) return imp_fail(IMP_ERR_LIMIT, "grammar: more than %d rules", MAX_RULES);
    if (grammar->n_rules == grammar->rule_capacity) {
        const size_t capacity = grammar->rule_capacity * 2 + 16;
        GrammarRule *grown = arena_alloc(grammar->arena, capacity, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        if (grammar->n_rules != 0) memcpy(grown, grammar->rules, grammar->n_rules * sizeof *grown);
        grammar->rules = grown;
        grammar->rule_capacity = capacity;
    }
    *out = (uint32_t)grammar->n_rules;
    grammar->rules[grammar->n_rules++] = (GrammarRule){.name = name};
    return IMP_OK;
}

ImpStatus grammar_append(Grammar *grammar, GrammarSequence *sequence, GrammarElement element)
{
    if (++grammar->n_elements > MAX_ELEMENTS) return imp_fail(IMP_ERR_LIMIT, "grammar: more than %d elements", MAX_ELEMENTS);
    if (sequence->count == sequence->capacity) {
        const size_t capacity = sequence->capacity * 2 + 8;
        GrammarElement *grown = arena_alloc(grammar->arena, capacity, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        if (sequence->count != 0) memcpy(grown, sequence->elements, sequence->count * sizeof *grown);
        sequence->elements = grown;
        sequence->capacity = capacity;
    }
    sequence->elements[sequence->count++] = element;
    return IMP_OK;
}

ImpStatus grammar_add_sequence(Grammar *grammar, uint32_t number, const GrammarSequence *sequence)
{
    GrammarRule *rule = &grammar->rules[number];
    GrammarElement *copy = arena_alloc(grammar->arena, sequence->count + 1, sizeof *copy);
    if (copy == NULL) return imp_fail_memory((sequence->count + 1) * sizeof *copy);
    if (sequence->count != 0) memcpy(copy, sequence->elements, sequence->count * sizeof *copy);
    copy[sequence->count].kind = GRAMMAR_END;
    for (size_t i = 0; i <= sequence->count; i++) copy[i].id = grammar->n_placed++;
    if (rule->n_sequences == rule->capacity) {
        const size_t capacity = rule->capacity * 2 + 2;
        GrammarElement **grown = arena_alloc(grammar->arena, capacity, sizeof(GrammarElement *));
        if (grown == NULL) return imp_fail_memory(capacity * sizeof(GrammarElement *));
        if (rule->n_sequences != 0) memcpy(grown, rule->sequences, rule->n_sequences * sizeof(GrammarElement *));
        rule->sequences = grown;
        rule->capacity = capacity;
    }
    rule->sequences[rule->n_sequences++] = copy;
    rule->defined = true;
    return IMP_OK;
}

ImpStatus grammar_append_set(Grammar *grammar, GrammarSequence *sequence, const CharSet *set)
{
    for (size_t i = 0; i < grammar->n_sets; i++) {
        const CharSet *known = &grammar->sets[i];
        if (known->count == set->count &&
            (set->count == 0 || memcmp(known->ranges, set->ranges, set->count * sizeof *set->ranges) == 0))
            return grammar_append(grammar, sequence, (GrammarElement){GRAMMAR_SET, (uint32_t)i, 0});
    }
    if (grammar->n_sets == grammar->set_capacity) {
        const size_t capacity = grammar->set_capacity * 2 + 16;
        CharSet *grown = arena_alloc(grammar->arena, capacity, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        if (grammar->n_sets != 0) memcpy(grown, grammar->sets, grammar->n_sets * sizeof *grown);
        grammar->sets = grown;
        grammar->set_capacity = capacity;
    }
    grammar->sets[grammar->n_sets++] = *set;
    return grammar_append(grammar, sequence, (GrammarElement){GRAMMAR_SET, (uint32_t)grammar->n_sets - 1, 0});
}

ImpStatus grammar_append_text(Grammar *grammar, GrammarSequence *sequence, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        CharSet one = {0};
        const uint32_t c = utf8_next(text, length, &at);
        IMP_TRY(charset_add(grammar->arena, &one, c, c));
        IMP_TRY(grammar_append_set(grammar, sequence, &one));
    }
    return IMP_OK;
}

ImpStatus grammar_append_json(Grammar *grammar, GrammarSequence *sequence, const ShapeSet *shapes)
{
    if (grammar->n_shapes == grammar->shape_capacity) {
        const size_t capacity = grammar->shape_capacity * 2 + 8;
        const ShapeSet **grown = arena_alloc(grammar->arena, capacity, sizeof(ShapeSet *));
        if (grown == NULL) return imp_fail_memory(capacity * sizeof(ShapeSet *));
        if (grammar->n_shapes != 0) memcpy(grown, grammar->shapes, grammar->n_shapes * sizeof(ShapeSet *));
        grammar->shapes = grown;
        grammar->shape_capacity = capacity;
    }
    grammar->shapes[grammar->n_shapes++] = shapes;
    return grammar_append(grammar, sequence, (GrammarElement){GRAMMAR_JSON, (uint32_t)grammar->n_shapes - 1, 0});
}

/* A rule that is `unit` and then `rest`, or nothing. */
static ImpStatus add_optional(Grammar *grammar, GrammarElement unit, const GrammarElement *rest, uint32_t rule)
{
    GrammarSequence sequence = {0};
    const GrammarSequence nothing = {0};
    IMP_TRY(grammar_append(grammar, &sequence, unit));
    if (rest != NULL) IMP_TRY(grammar_append(grammar, &sequence, *rest));
    IMP_TRY(grammar_add_sequence(grammar, rule, &sequence));
    return grammar_add_sequence(grammar, rule, &nothing);
}

ImpStatus grammar_append_repeat(Grammar *grammar, GrammarSequence *out, const GrammarSequence *unit, size_t min, size_t max)
{
    GrammarElement element;
    uint32_t rule = 0;
    if (unit->count == 1) {
        element = unit->elements[0];
    } else {
        IMP_TRY(grammar_add_rule(grammar, NULL, &rule));
        IMP_TRY(grammar_add_sequence(grammar, rule, unit));
        element = (GrammarElement){GRAMMAR_RULE, rule, 0};
    }
    for (size_t i = 0; i < min; i++) IMP_TRY(grammar_append(grammar, out, element));
    if (max == SIZE_MAX) {
        IMP_TRY(grammar_add_rule(grammar, NULL, &rule));
        const GrammarElement again = {GRAMMAR_RULE, rule, 0};
        IMP_TRY(add_optional(grammar, element, &again, rule));
        return grammar_append(grammar, out, again);
    }
    GrammarElement rest = {GRAMMAR_END, 0, 0};
    for (size_t i = min; i < max; i++) {
        IMP_TRY(grammar_add_rule(grammar, NULL, &rule));
        IMP_TRY(add_optional(grammar, element, i == min ? NULL : &rest, rule));
        rest = (GrammarElement){GRAMMAR_RULE, rule, 0};
    }
    return max > min ? grammar_append(grammar, out, rest) : IMP_OK;
}

/* The characters of one class of an automaton. */
static ImpStatus class_set(Grammar *grammar, const Dfa *dfa, uint32_t class, CharSet *set)
{
    for (uint32_t i = 0; i < dfa->n_bounds; i++) {
        const uint32_t high = i + 1 < dfa->n_bounds ? dfa->bounds[i + 1] - 1 : CODE_POINT_MAX;
        if (dfa->bound_class[i] == class) IMP_TRY(charset_add(grammar->arena, set, dfa->bounds[i], high));
    }
    charset_finish(set);
    return IMP_OK;
}

/* The rule of one state: a character and the rule of the next state, or nothing. */
static ImpStatus add_state(Grammar *grammar, const Dfa *dfa, const CharSet *sets, uint32_t first, uint32_t state)
{
    const GrammarSequence nothing = {0};
    for (uint32_t c = 0; c < dfa->n_classes; c++) {
        const uint32_t target = dfa->next[(size_t)state * dfa->n_classes + c];
        GrammarSequence sequence = {0};
        if (target == DFA_DEAD) continue;
        IMP_TRY(grammar_append_set(grammar, &sequence, &sets[c]));
        IMP_TRY(grammar_append(grammar, &sequence, (GrammarElement){GRAMMAR_RULE, first + target, 0}));
        IMP_TRY(grammar_add_sequence(grammar, first + state, &sequence));
    }
    return dfa->label[state] == 0 ? IMP_OK : grammar_add_sequence(grammar, first + state, &nothing);
}

ImpStatus grammar_add_automaton(Grammar *grammar, const Dfa *dfa, uint32_t *out)
{
    const uint32_t first = (uint32_t)grammar->n_rules;
    CharSet *sets = arena_alloc(grammar->arena, dfa->n_classes, sizeof *sets);
    if (sets == NULL) return imp_fail_memory(dfa->n_classes * sizeof *sets);
    for (uint32_t c = 0; c < dfa->n_classes; c++) IMP_TRY(class_set(grammar, dfa, c, &sets[c]));
    for (uint32_t s = 0; s < dfa->n_states; s++) IMP_TRY(grammar_add_rule(grammar, NULL, out));
    for (uint32_t s = 0; s < dfa->n_states; s++) {
        if (s != DFA_DEAD) IMP_TRY(add_state(grammar, dfa, sets, first, s));
    }
    *out = first + dfa->start;
    return IMP_OK;
}

/* Whether a sequence holds only what is `known` (of rules), empty sets never. */
static bool sequence_ends(const Grammar *grammar, const GrammarElement *element, const bool *known)
{
    for (; element->kind != GRAMMAR_END; element++) {
        if (element->kind == GRAMMAR_SET && grammar->sets[element->value].count == 0) return false;
        if (element->kind == GRAMMAR_RULE && !known[element->value]) return false;
    }
    return true;
}

static bool sequence_is_empty(const GrammarElement *element, const bool *nullable)
{
    while (element->kind == GRAMMAR_RULE && nullable[element->value]) element++;
    return element->kind == GRAMMAR_END;
}

/* Least fixed points: rules that end, rules that may be empty. */
static void find_rules(const Grammar *grammar, bool *ends, bool *nullable)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t r = grammar->n_rules; r-- > 0;) {
            const GrammarRule *rule = &grammar->rules[r];
            for (size_t s = 0; s < rule->n_sequences; s++) {
                const bool end = !ends[r] && sequence_ends(grammar, rule->sequences[s], ends);
                const bool empty = !nullable[r] && sequence_is_empty(rule->sequences[s], nullable);
                ends[r] = ends[r] || end;
                nullable[r] = nullable[r] || empty;
                changed = changed || end || empty;
            }
        }
    }
}

static void drop_endless(Grammar *grammar, const bool *ends)
{
    for (size_t r = 0; r < grammar->n_rules; r++) {
        GrammarRule *rule = &grammar->rules[r];
        size_t kept = 0;
        for (size_t s = 0; s < rule->n_sequences; s++) {
            if (sequence_ends(grammar, rule->sequences[s], ends)) rule->sequences[kept++] = rule->sequences[s];
        }
        rule->n_sequences = kept;
    }
}

/* Marks the rules that a derivation from `from` can begin with. */
static void reach_beginnings(const Grammar *grammar, const bool *nullable, uint32_t from, bool *reached, uint32_t *stack)
{
    size_t depth = 0;
    memset(reached, 0, grammar->n_rules);
    stack[depth++] = from;
    reached[from] = true;
    while (depth > 0) {
        const GrammarRule *rule = &grammar->rules[stack[--depth]];
        for (size_t s = 0; s < rule->n_sequences; s++) {
            for (const GrammarElement *e = rule->sequences[s]; e->kind == GRAMMAR_RULE; e++) {
                if (!reached[e->value]) stack[depth++] = e->value;
                reached[e->value] = true;
                if (!nullable[e->value]) break;
            }
        }
    }
}

/* A rule in the beginning of `number`, with something behind it, from which a derivation can come back to `number`. */
static bool begins_with_itself(const Grammar *grammar, const bool *nullable, uint32_t number, bool *reached, uint32_t *stack)
{
    const GrammarRule *rule = &grammar->rules[number];
    for (size_t s = 0; s < rule->n_sequences; s++) {
        for (const GrammarElement *e = rule->sequences[s]; e->kind == GRAMMAR_RULE; e++) {
            if (e[1].kind == GRAMMAR_END) break;
            reach_beginnings(grammar, nullable, e->value, reached, stack);
            if (reached[number]) return true;
            if (!nullable[e->value]) break;
        }
    }
    return false;
}

static ImpStatus refuse_left_recursion(const Grammar *grammar, const bool *nullable)
{
    bool *reached = malloc(grammar->n_rules);
    uint32_t *stack = malloc(grammar->n_rules * sizeof *stack);
    ImpStatus status = reached == NULL || stack == NULL ? imp_fail_memory(grammar->n_rules * 5) : IMP_OK;
    size_t work = 0;
    for (uint32_t r = 0; status == IMP_OK && r < grammar->n_rules; r++) {
        /* Rules that begin with a character need no search. */
        const GrammarRule *rule = &grammar->rules[r];
        for (size_t s = 0; s < rule->n_sequences; s++) work += rule->sequences[s][0].kind == GRAMMAR_RULE ? grammar->n_rules : 0;
        if (work > 400U * 1000 * 1000) status = imp_fail(IMP_ERR_LIMIT, "grammar: too many rules that begin with rules");
        else if (begins_with_itself(grammar, nullable, r, reached, stack))
            status = imp_fail(IMP_ERR_UNSUPPORTED, "grammar: rule \"%s\" begins with itself (left recursion)",
                              rule->name == NULL ? "(group)" : rule->name);
    }
    free(reached);
    free(stack);
    return status;
}

ImpStatus grammar_finish(Grammar *grammar, uint32_t start)
{
    bool *ends = calloc(grammar->n_rules * 2 + 1, sizeof *ends);
    if (ends == NULL) return imp_fail_memory(grammar->n_rules * 2);
    bool *nullable = ends + grammar->n_rules;
    find_rules(grammar, ends, nullable);
    drop_endless(grammar, ends);
    grammar->start = start;
    ImpStatus status = IMP_OK;
    if (!ends[start]) status = imp_fail(IMP_ERR_FORMAT, "grammar: no text follows from its start");
    if (status == IMP_OK) status = refuse_left_recursion(grammar, nullable);
    free(ends);
    return status;
}
