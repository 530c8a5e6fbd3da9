/*
 * machine.h - what a constraint runs: JSON along shapes, an automaton, or a grammar, all a byte at a time on a tape.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_MACHINE_H
#define IMP_RUNTIME_CONSTRAINT_MACHINE_H

#include "runtime/constraint/grammar.h"
#include "runtime/constraint/json_machine.h"

typedef enum MachineKind { MACHINE_JSON, MACHINE_REGEX, MACHINE_GRAMMAR } MachineKind;

typedef struct Machine {
    MachineKind kind;
    const ShapeSet *shapes;
    const Dfa *dfa;
    const Grammar *grammar;
} Machine;

/* States are offsets on the tape; 0 is no state. */
uint32_t machine_start(const Machine *machine, Tape *tape);
uint32_t machine_step(const Machine *machine, Tape *tape, uint32_t state, unsigned char byte);
/* Over a token that stands for no text, where it is asked for; all tokens that are. */
uint32_t machine_step_token(const Machine *machine, Tape *tape, uint32_t state, int32_t token);
bool machine_tokens(const Machine *machine, Tape *tape, uint32_t state, GrammarToken *found, void *context);
/* The text may end here. */
bool machine_complete(const Machine *machine, Tape *tape, uint32_t state);
/* States with equal hashes allow the same continuations. */
uint64_t machine_hash(const Machine *machine, const Tape *tape, uint32_t state);
/* After the text of a token: moves the state down the tape over what only led to it, where that is cheap to see. `before` is the
 * state that the token came after and `top` the tape's length then. Returns the state's new place. */
uint32_t machine_squeeze(const Machine *machine, Tape *tape, size_t top, uint32_t before, uint32_t state);
/* json_ways() wherever it applies. */
void machine_ways(const Machine *machine, const Tape *tape, uint32_t state, JsonWays *out);
/* json_other_texts() wherever it applies. */
void machine_other_texts(const Machine *machine, const Tape *tape, uint32_t state, JsonOtherText *found, void *context);
/* Other ways may lead to an equal state (json_may_meet). */
bool machine_may_meet(const Machine *machine, const Tape *tape, uint32_t state);
/* json_cursors() wherever it applies; *only_plain: what ends the string or escapes is not among them. */
size_t machine_cursors(const Machine *machine, Tape *tape, uint32_t state, StringCursor *cursors, size_t capacity,
                       bool *only_plain);
/* Where bytes that must follow are worth finding out, and whether a backslash is only another spelling there. */
bool machine_may_force(const Machine *machine, const Tape *tape, uint32_t state, bool *ignore_backslash);

#endif
