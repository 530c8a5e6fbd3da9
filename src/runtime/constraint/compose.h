/*
 * compose.h - constraints put together from parts: literal text, special tokens, JSON along a schema, patterns, free text up to a
 * marker, in sequences, choices and repetitions. Tool calls are made of these.
 *
 * A part is a number that its builder gave out; it may be used in any number of other parts. The first failure stays with the
 * builder: later calls return it too, so that only constraint_builder_finish needs to be looked at.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_COMPOSE_H
#define IMP_RUNTIME_CONSTRAINT_COMPOSE_H

#include "runtime/constraint/constraint.h"
#include "runtime/constraint/dfa.h"

typedef struct ConstraintBuilder ConstraintBuilder;
typedef uint32_t ConstraintPart;

#define CONSTRAINT_FOREVER SIZE_MAX

ImpStatus constraint_builder_create(ConstraintBuilder **out);
void constraint_builder_free(ConstraintBuilder *builder);

/* Exactly this text (UTF-8; may be empty). */
ImpStatus constraint_add_text(ConstraintBuilder *builder, const char *text, size_t length, ConstraintPart *out);
/* Exactly this token: for those that stand for no text (constraint.h), which no other part allows. */
ImpStatus constraint_add_token(ConstraintBuilder *builder, int32_t token, ConstraintPart *out);
/* A JSON value that satisfies the schema; NULL: any JSON object. Usual spacing may stand around it. */
ImpStatus constraint_add_schema(ConstraintBuilder *builder, const json_t *schema, ConstraintPart *out);
/* Text that the pattern matches from end to end. */
ImpStatus constraint_add_pattern(ConstraintBuilder *builder, const char *pattern, size_t length, ConstraintPart *out);
/* Text that the machine reads to where it may end. */
ImpStatus constraint_add_machine(ConstraintBuilder *builder, const DfaMachine *machine, ConstraintPart *out);
/* Any text in which none of the markers occurs (none given: any text at all). */
ImpStatus constraint_add_text_without(ConstraintBuilder *builder, const char *const *markers, size_t n_markers,
                                      ConstraintPart *out);
/* Any text that ends with markers[which] and in which no marker occurs before: the marker is part of it. */
ImpStatus constraint_add_text_until(ConstraintBuilder *builder, const char *const *markers, size_t n_markers, size_t which,
                                    ConstraintPart *out);
/* All of the parts, one after the other; one of them; one of them `min` to `max` times (CONSTRAINT_FOREVER: no end). */
ImpStatus constraint_add_sequence(ConstraintBuilder *builder, const ConstraintPart *parts, size_t n_parts, ConstraintPart *out);
ImpStatus constraint_add_choice(ConstraintBuilder *builder, const ConstraintPart *parts, size_t n_parts, ConstraintPart *out);
ImpStatus constraint_add_repeat(ConstraintBuilder *builder, ConstraintPart part, size_t min, size_t max, ConstraintPart *out);

/* The constraint whose text is `part`. The builder can only be freed afterwards. */
ImpStatus constraint_builder_finish(ConstraintBuilder *builder, ConstraintPart part, Constraint **out);

#endif
