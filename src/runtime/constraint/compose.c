/*
 * compose.c - every part is a rule of a grammar. Patterns and free text are automata, written as rules that end with a rule
 * (grammar_machine.c runs those without a stack).
 */
#include "runtime/constraint/compose.h"
#include "runtime/constraint/constraint_parts.h"
#include "runtime/constraint/expression.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FREE_STATES = 4096 };

struct ConstraintBuilder {
    Constraint *constraint;
    Grammar *grammar;
    Arena scratch;
    ImpStatus status; /* of the first call that failed */
};

ImpStatus constraint_builder_create(ConstraintBuilder **out)
{
    ConstraintBuilder *builder = calloc(1, sizeof *builder);
    if (builder == NULL) return imp_fail_memory(sizeof *builder);
    ImpStatus status = constraint_new(MACHINE_GRAMMAR, "", 0, &builder->constraint);
    builder->scratch.limit = 256U << 20;
    if (status == IMP_OK) {
        builder->grammar = arena_alloc(&builder->constraint->arena, 1, sizeof *builder->grammar);
        if (builder->grammar == NULL) status = imp_fail_memory(sizeof *builder->grammar);
    }
    if (status != IMP_OK) {
        constraint_builder_free(builder);
        return status;
    }
    builder->grammar->arena = &builder->constraint->arena;
    builder->constraint->machine.grammar = builder->grammar;
    *out = builder;
    return IMP_OK;
}

void constraint_builder_free(ConstraintBuilder *builder)
{
    if (builder == NULL) return;
    constraint_free(builder->constraint);
    arena_free(&builder->scratch);
    free(builder);
}

/* Notes what was added, for the constraint's identity. */
static void note(ConstraintBuilder *builder, char kind, const void *bytes, size_t length)
{
    constraint_identify(builder->constraint, &kind, 1);
    constraint_identify(builder->constraint, &length, sizeof length);
    constraint_identify(builder->constraint, bytes, length);
}

/* A new rule with one sequence. */
static ImpStatus add_rule(ConstraintBuilder *builder, const GrammarSequence *sequence, ConstraintPart *out)
{
    IMP_TRY(grammar_add_rule(builder->grammar, NULL, out));
    return grammar_add_sequence(builder->grammar, *out, sequence);
}

/* What a part's function does, between the check for an earlier failure and the note of a new one. */
static ImpStatus keep(ConstraintBuilder *builder, ImpStatus status)
{
    builder->status = status;
    return status;
}

static ImpStatus add_text(ConstraintBuilder *builder, const char *text, size_t length, ConstraintPart *out)
{
    GrammarSequence sequence = {0};
    if (!utf8_is_valid(text, length)) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a literal text is not UTF-8");
    note(builder, 't', text, length);
    IMP_TRY(grammar_append_text(builder->grammar, &sequence, text, length));
    return add_rule(builder, &sequence, out);
}

ImpStatus constraint_add_text(ConstraintBuilder *builder, const char *text, size_t length, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_text(builder, text, length, out));
}

ImpStatus constraint_add_token(ConstraintBuilder *builder, int32_t token, ConstraintPart *out)
{
    GrammarSequence sequence = {0};
    IMP_TRY(builder->status);
    note(builder, 'k', &token, sizeof token);
    ImpStatus status = token < 0 ? imp_fail(IMP_ERR_INVALID_ARGUMENT, "token %d does not exist", (int)token) : IMP_OK;
    const GrammarElement element = {GRAMMAR_TOKEN, (uint32_t)token, 0};
    if (status == IMP_OK) status = grammar_append(builder->grammar, &sequence, element);
    if (status == IMP_OK) status = add_rule(builder, &sequence, out);
    return keep(builder, status);
}

static ImpStatus add_schema(ConstraintBuilder *builder, const json_t *schema, ConstraintPart *out)
{
    static const char any_object[] = "{\"type\":\"object\"}";
    Arena *arena = &builder->constraint->arena;
    const JsonValue *value = NULL;
    ShapeSet *shapes = NULL;
    GrammarSequence sequence = {0};
    if (schema == NULL) {
        note(builder, 'o', "", 0);
        IMP_TRY(json_value_parse(arena, any_object, sizeof any_object - 1, &value));
    } else {
        char *text = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
        if (text == NULL) return imp_fail_memory(0);
        note(builder, 's', text, strlen(text));
        free(text);
        IMP_TRY(json_value_from_jansson(arena, schema, &value));
    }
    IMP_TRY(constraint_compile_value(arena, value, &shapes));
    IMP_TRY(grammar_append_json(builder->grammar, &sequence, shapes));
    return add_rule(builder, &sequence, out);
}

ImpStatus constraint_add_schema(ConstraintBuilder *builder, const json_t *schema, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_schema(builder, schema, out));
}

static ImpStatus add_pattern(ConstraintBuilder *builder, const char *pattern, size_t length, ConstraintPart *out)
{
    const Dfa *dfa = NULL;
    note(builder, 'p', pattern, length);
    IMP_TRY(expression_compile(&builder->scratch, pattern, length, EXPRESSION_WHOLE, &dfa));
    return grammar_add_automaton(builder->grammar, dfa, out);
}

ImpStatus constraint_add_pattern(ConstraintBuilder *builder, const char *pattern, size_t length, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_pattern(builder, pattern, length, out));
}

static ImpStatus add_machine(ConstraintBuilder *builder, const DfaMachine *machine, ConstraintPart *out)
{
    const Dfa *dfa = NULL;
    IMP_TRY(dfa_from_machine(&builder->scratch, machine, MAX_FREE_STATES, &dfa));
    note(builder, 'd', dfa->next, (size_t)dfa->n_states * dfa->n_classes * sizeof *dfa->next);
    note(builder, 'l', dfa->label, dfa->n_states * sizeof *dfa->label);
    note(builder, 'b', dfa->bounds, dfa->n_bounds * sizeof *dfa->bounds);
    note(builder, 'c', dfa->bound_class, dfa->n_bounds * sizeof *dfa->bound_class);
    return grammar_add_automaton(builder->grammar, dfa, out);
}

ImpStatus constraint_add_machine(ConstraintBuilder *builder, const DfaMachine *machine, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_machine(builder, machine, out));
}

/* The pattern "any text, one of the markers, `tail`". */
static ImpStatus marker_automaton(ConstraintBuilder *builder, const char *const *markers, size_t n_markers, const char *tail,
                                  const Dfa **out)
{
    StrBuf pattern = {0};
    strbuf_puts(&pattern, "[\\s\\S]*(?:");
    for (size_t i = 0; i < n_markers; i++) {
        if (i > 0) strbuf_puts(&pattern, "|");
        for (const char *c = markers[i]; *c != '\0'; c++) {
            if (strchr("\\^$.|?*+()[]{}/-", *c) != NULL) strbuf_puts(&pattern, "\\");
            strbuf_append(&pattern, c, 1);
        }
    }
    strbuf_puts(&pattern, ")");
    strbuf_puts(&pattern, tail);
    ImpStatus status = strbuf_check(&pattern);
    if (status == IMP_OK)
        status = expression_compile(&builder->scratch, pattern.data, pattern.length, EXPRESSION_WHOLE, out);
    strbuf_free(&pattern);
    return status;
}

static ImpStatus check_markers(ConstraintBuilder *builder, const char *const *markers, size_t n_markers)
{
    for (size_t i = 0; i < n_markers; i++) {
        if (markers[i][0] == '\0') return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a marker is empty");
        note(builder, 'm', markers[i], strlen(markers[i]));
    }
    return IMP_OK;
}

static ImpStatus add_text_without(ConstraintBuilder *builder, const char *const *markers, size_t n_markers, ConstraintPart *out)
{
    const Dfa *refused = NULL;
    const Dfa *dfa = NULL;
    IMP_TRY(check_markers(builder, markers, n_markers));
    note(builder, 'w', "", 0);
    if (n_markers == 0) {
        IMP_TRY(expression_compile(&builder->scratch, "[\\s\\S]*", 7, EXPRESSION_WHOLE, &dfa));
    } else {
        IMP_TRY(marker_automaton(builder, markers, n_markers, "[\\s\\S]*", &refused));
        IMP_TRY(dfa_combine(&builder->scratch, NULL, 0, &refused, 1, MAX_FREE_STATES, &dfa));
    }
    return grammar_add_automaton(builder->grammar, dfa, out);
}

ImpStatus constraint_add_text_without(ConstraintBuilder *builder, const char *const *markers, size_t n_markers,
                                      ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_text_without(builder, markers, n_markers, out));
}

static ImpStatus add_text_until(ConstraintBuilder *builder, const char *const *markers, size_t n_markers, size_t which,
                                ConstraintPart *out)
{
    const Dfa *ends = NULL;
    const Dfa *before = NULL;
    const Dfa *dfa = NULL;
    if (which >= n_markers) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no marker %zu", which);
    IMP_TRY(check_markers(builder, markers, n_markers));
    note(builder, 'u', &which, sizeof which);
    IMP_TRY(marker_automaton(builder, markers + which, 1, "", &ends));
    IMP_TRY(marker_automaton(builder, markers, n_markers, "[\\s\\S]+", &before));
    IMP_TRY(dfa_combine(&builder->scratch, &ends, 1, &before, 1, MAX_FREE_STATES, &dfa));
    return grammar_add_automaton(builder->grammar, dfa, out);
}

ImpStatus constraint_add_text_until(ConstraintBuilder *builder, const char *const *markers, size_t n_markers, size_t which,
                                    ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_text_until(builder, markers, n_markers, which, out));
}

static ImpStatus check_part(const ConstraintBuilder *builder, ConstraintPart part)
{
    if (part < builder->grammar->n_rules) return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "part %u does not exist", (unsigned)part);
}

static ImpStatus append_part(ConstraintBuilder *builder, GrammarSequence *sequence, ConstraintPart part)
{
    IMP_TRY(check_part(builder, part));
    return grammar_append(builder->grammar, sequence, (GrammarElement){GRAMMAR_RULE, part, 0});
}

static ImpStatus add_sequence(ConstraintBuilder *builder, const ConstraintPart *parts, size_t n_parts, ConstraintPart *out)
{
    GrammarSequence sequence = {0};
    note(builder, 'q', parts, n_parts * sizeof *parts);
    for (size_t i = 0; i < n_parts; i++) IMP_TRY(append_part(builder, &sequence, parts[i]));
    return add_rule(builder, &sequence, out);
}

ImpStatus constraint_add_sequence(ConstraintBuilder *builder, const ConstraintPart *parts, size_t n_parts, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_sequence(builder, parts, n_parts, out));
}

static ImpStatus add_choice(ConstraintBuilder *builder, const ConstraintPart *parts, size_t n_parts, ConstraintPart *out)
{
    note(builder, 'c', parts, n_parts * sizeof *parts);
    if (n_parts == 0) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a choice of nothing");
    uint32_t rule = 0;
    IMP_TRY(grammar_add_rule(builder->grammar, NULL, &rule));
    for (size_t i = 0; i < n_parts; i++) {
        GrammarSequence sequence = {0};
        IMP_TRY(append_part(builder, &sequence, parts[i]));
        IMP_TRY(grammar_add_sequence(builder->grammar, rule, &sequence));
    }
    *out = rule;
    return IMP_OK;
}

ImpStatus constraint_add_choice(ConstraintBuilder *builder, const ConstraintPart *parts, size_t n_parts, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_choice(builder, parts, n_parts, out));
}

static ImpStatus add_repeat(ConstraintBuilder *builder, ConstraintPart part, size_t min, size_t max, ConstraintPart *out)
{
    GrammarSequence unit = {0};
    GrammarSequence sequence = {0};
    const size_t numbers[] = {part, min, max};
    note(builder, 'r', numbers, sizeof numbers);
    if (min > max || min > 10000 || (max > 10000 && max != CONSTRAINT_FOREVER))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "a repetition's bounds run backwards or lie beyond 10000");
    IMP_TRY(append_part(builder, &unit, part));
    IMP_TRY(grammar_append_repeat(builder->grammar, &sequence, &unit, min, max));
    return add_rule(builder, &sequence, out);
}

ImpStatus constraint_add_repeat(ConstraintBuilder *builder, ConstraintPart part, size_t min, size_t max, ConstraintPart *out)
{
    IMP_TRY(builder->status);
    return keep(builder, add_repeat(builder, part, min, max, out));
}

ImpStatus constraint_builder_finish(ConstraintBuilder *builder, ConstraintPart part, Constraint **out)
{
    IMP_TRY(builder->status);
    IMP_TRY(check_part(builder, part));
    note(builder, 'f', &part, sizeof part);
    IMP_TRY(keep(builder, grammar_finish(builder->grammar, part)));
    *out = builder->constraint;
    builder->constraint = NULL;
    builder->grammar = NULL;
    builder->status = imp_fail(IMP_ERR_INVALID_ARGUMENT, "the builder has delivered its constraint");
    return IMP_OK;
}
