/*
 * constraint_parts.h - the inside of a Constraint, for the files that make one.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_PARTS_H
#define IMP_RUNTIME_CONSTRAINT_PARTS_H

#include "runtime/constraint/constraint.h"
#include "runtime/constraint/machine.h"

struct Constraint {
    Arena arena;
    Machine machine;
    uint64_t identity; /* hash of what it was compiled from: masks are kept under it */
};

/* An empty constraint of a kind, made from `source`. */
ImpStatus constraint_new(MachineKind kind, const char *source, size_t length, Constraint **out);
/* Adds to what tells the constraint from others. */
void constraint_identify(Constraint *constraint, const void *bytes, size_t length);
/* Shapes of a schema in an arena. */
ImpStatus constraint_compile_value(Arena *arena, const JsonValue *schema, ShapeSet **out);
/* How many bytes of a refused token the machine reads. */
size_t constraint_refused_at(ConstraintState *state, int32_t token);

#endif
