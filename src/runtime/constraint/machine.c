/*
 * machine.c - one interface over the three machines, and the smallest of them: an automaton over characters.
 */
#include "runtime/constraint/machine.h"
#include "runtime/constraint/hash.h"
#include "runtime/constraint/utf8_reader.h"

#include <string.h>

typedef struct RegexState {
    uint32_t automaton;
    Utf8Reader reader;
} RegexState;

static uint32_t new_regex_state(Tape *tape, RegexState value)
{
    const uint32_t offset = tape_take(tape, sizeof value);
    if (offset != 0) *(RegexState *)tape_at(tape, offset) = value;
    return offset;
}

static uint32_t regex_step(const Dfa *dfa, Tape *tape, uint32_t offset, unsigned char byte)
{
    RegexState state = *(const RegexState *)tape_at(tape, offset);
    uint32_t low = 0;
    uint32_t high = 0;
    if (!utf8_read(&state.reader, byte, &low, &high)) return 0;
    if (state.reader.pending == 0) {
        state.automaton = dfa_step(dfa, state.automaton, low);
        state.reader = (Utf8Reader){0};
        if (state.automaton == DFA_DEAD) return 0;
    } else if (!dfa_step_possible(dfa, state.automaton, low, high, 0, DFA_UNBOUNDED)) {
        return 0;
    }
    return new_regex_state(tape, state);
}

uint32_t machine_start(const Machine *machine, Tape *tape)
{
    if (machine->kind == MACHINE_JSON) return json_start(machine->shapes, tape);
    if (machine->kind == MACHINE_GRAMMAR) return grammar_begin(machine->grammar, tape);
    return new_regex_state(tape, (RegexState){.automaton = machine->dfa->start});
}

uint32_t machine_step(const Machine *machine, Tape *tape, uint32_t state, unsigned char byte)
{
    if (machine->kind == MACHINE_JSON) return json_step(machine->shapes, tape, state, byte);
    if (machine->kind == MACHINE_GRAMMAR) return grammar_step(machine->grammar, tape, state, byte);
    return regex_step(machine->dfa, tape, state, byte);
}

uint32_t machine_step_token(const Machine *machine, Tape *tape, uint32_t state, int32_t token)
{
    return machine->kind == MACHINE_GRAMMAR ? grammar_step_token(machine->grammar, tape, state, token) : 0;
}

bool machine_tokens(const Machine *machine, Tape *tape, uint32_t state, GrammarToken *found, void *context)
{
    return machine->kind != MACHINE_GRAMMAR || grammar_tokens(machine->grammar, tape, state, found, context);
}

bool machine_complete(const Machine *machine, Tape *tape, uint32_t state)
{
    if (machine->kind == MACHINE_JSON) return json_complete(tape, state);
    if (machine->kind == MACHINE_GRAMMAR) return grammar_complete(machine->grammar, tape, state);
    const RegexState *regex = tape_at(tape, state);
    return regex->reader.pending == 0 && machine->dfa->label[regex->automaton] != 0;
}

uint64_t machine_hash(const Machine *machine, const Tape *tape, uint32_t state)
{
    if (machine->kind == MACHINE_JSON) return json_hash(tape, state);
    if (machine->kind == MACHINE_GRAMMAR) return grammar_hash(machine->grammar, tape, state);
    const RegexState *regex = tape_at(tape, state);
    const uint64_t reader = (uint64_t)regex->reader.point << 16 | (uint64_t)regex->reader.pending << 8 | regex->reader.length;
    return hash_mix(regex->automaton, reader);
}

uint32_t machine_squeeze(const Machine *machine, Tape *tape, size_t top, uint32_t before, uint32_t state)
{
    size_t size = sizeof(RegexState);
    if (machine->kind == MACHINE_GRAMMAR) return state;
    if (machine->kind == MACHINE_JSON) size = json_movable_size(tape, before, state);
    if (size == 0) return state;
    if (state < top) { /* one that was there before */
        tape->top = top;
        return state;
    }
    memmove(tape_at(tape, (uint32_t)top), tape_at(tape, state), size);
    tape->top = top + ((size + 15) & ~(size_t)15);
    return (uint32_t)top;
}

size_t machine_cursors(const Machine *machine, Tape *tape, uint32_t state, StringCursor *cursors, size_t capacity,
                       bool *only_plain)
{
    *only_plain = true;
    if (machine->kind == MACHINE_JSON) return json_cursors(machine->shapes, tape, state, cursors, capacity);
    if (machine->kind == MACHINE_GRAMMAR) {
        const uint32_t json = grammar_json_state(tape, state);
        if (json == 0) return 0;
        return json_cursors(grammar_json_shapes(machine->grammar, tape, state), tape, json, cursors, capacity);
    }
    const RegexState *regex = tape_at(tape, state);
    if (regex->reader.pending != 0) return 0;
    *only_plain = false;
    cursors[0] = (StringCursor){.dfa = machine->dfa, .state = regex->automaton, .most = DFA_UNBOUNDED};
    return 1;
}

bool machine_may_meet(const Machine *machine, const Tape *tape, uint32_t state)
{
    if (machine->kind == MACHINE_JSON) return json_may_meet(tape, state);
    return machine->kind != MACHINE_GRAMMAR || grammar_may_meet(tape, state);
}

void machine_ways(const Machine *machine, const Tape *tape, uint32_t state, JsonWays *out)
{
    uint32_t json = machine->kind == MACHINE_JSON ? state : 0;
    if (machine->kind == MACHINE_GRAMMAR) json = grammar_json_state(tape, state);
    out->n = 0;
    if (json != 0) json_ways(tape, json, out);
}

void machine_other_texts(const Machine *machine, const Tape *tape, uint32_t state, JsonOtherText *found, void *context)
{
    if (machine->kind == MACHINE_JSON) {
        json_other_texts(machine->shapes, tape, state, found, context);
    } else if (machine->kind == MACHINE_GRAMMAR) {
        const ShapeSet *shapes = NULL;
        const uint32_t json = grammar_json_state(tape, state);
        if (json != 0) shapes = grammar_json_shapes(machine->grammar, tape, state);
        if (json != 0) json_other_texts(shapes, tape, json, found, context);
    }
}

bool machine_may_force(const Machine *machine, const Tape *tape, uint32_t state, bool *ignore_backslash)
{
    uint32_t json = machine->kind == MACHINE_JSON ? state : 0;
    if (machine->kind == MACHINE_GRAMMAR) json = grammar_json_state(tape, state);
    *ignore_backslash = json != 0;
    return json == 0 || json_inside_scalar(tape, json);
}
