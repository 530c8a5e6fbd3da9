/*
 * grammar_machine.c - running a grammar: every derivation is a thread, a stack of places in sequences.
 *
 * A thread waits at a set of characters, at a token or inside a JSON value. A rule at the end of a sequence replaces its caller instead of
 * returning to it, so that repetition does not deepen the stack. Threads that are alike are one.
 */
#include "runtime/constraint/grammar.h"
#include "runtime/constraint/hash.h"
#include "runtime/constraint/json_machine.h"
#include "runtime/constraint/utf8_reader.h"

#include <string.h>

enum { MAX_THREADS = 512 };

/* A place in a sequence and where to go on behind its end. */
typedef struct GrammarPlace {
    const GrammarElement *element;
    uint32_t next; /* 0: the end of the text */
    uint64_t hash;
} GrammarPlace;

typedef struct GrammarThread {
    uint32_t place; /* 0: the text may end here */
    uint32_t json;  /* state inside the JSON value at this place; 0 at a set */
    uint64_t hash;
} GrammarThread;

typedef struct GrammarState {
    Utf8Reader reader; /* of characters outside JSON */
    uint64_t n_threads;
    /* then [n_threads] GrammarThread */
} GrammarState;

typedef struct GrammarRun {
    const Grammar *grammar;
    Tape *tape;
    uint32_t state; /* the new state, with room for MAX_THREADS until it is finished */
    uint32_t pending[MAX_THREADS]; /* places still to be followed to where they read */
    uint64_t seen[MAX_THREADS];    /* hashes of places that were followed */
    uint32_t n_pending, n_seen, n_threads;
    GrammarThread threads[MAX_THREADS];
} GrammarRun;

static GrammarState *state_at(const Tape *tape, uint32_t offset) { return tape_at(tape, offset); }
static GrammarThread *threads_at(const Tape *tape, uint32_t offset)
{
    return (GrammarThread *)(void *)((char *)tape_at(tape, offset) + sizeof(GrammarState));
}
static const GrammarPlace *place_at(const Tape *tape, uint32_t offset) { return tape_at(tape, offset); }

static uint32_t new_place(Tape *tape, const GrammarElement *element, uint32_t next)
{
    const uint64_t below = next == 0 ? 7 : place_at(tape, next)->hash;
    const uint32_t offset = tape_take(tape, sizeof(GrammarPlace));
    if (offset == 0) return 0;
    *(GrammarPlace *)tape_at(tape, offset) =
        (GrammarPlace){element, next, hash_mix(below, element->id)};
    return offset;
}

/* Room for one more after `n`, and the work of having compared with all of them. */
static bool spend(GrammarRun *run, uint32_t n)
{
    run->tape->work += n + 1;
    if (n == MAX_THREADS || run->tape->work > TAPE_MAX_WORK) run->tape->failed = true;
    return !run->tape->failed;
}

static bool add_thread(GrammarRun *run, uint32_t place, uint32_t json)
{
    uint64_t hash = place == 0 ? 3 : place_at(run->tape, place)->hash;
    if (json != 0) hash = hash_mix(hash, json_hash(run->tape, json));
    for (uint32_t i = 0; i < run->n_threads; i++) {
        if (run->threads[i].hash == hash) return true;
    }
    if (!spend(run, run->n_threads)) return false;
    run->threads[run->n_threads++] = (GrammarThread){place, json, hash};
    return true;
}

static bool push_place(GrammarRun *run, uint32_t place)
{
    const uint64_t hash = place == 0 ? 3 : place_at(run->tape, place)->hash;
    for (uint32_t i = 0; i < run->n_seen; i++) {
        if (run->seen[i] == hash) return true;
    }
    if (!spend(run, run->n_seen) ) return false;
    run->seen[run->n_seen++] = hash;
    run->pending[run->n_pending++] = place;
    return true;
}

/* Enters each sequence of the rule at a place. */
static bool enter_rule(GrammarRun *run, uint32_t offset)
{
    const GrammarPlace place = *place_at(run->tape, offset);
    const GrammarRule *rule = &run->grammar->rules[place.element->value];
    uint32_t next = place.next;
    if (place.element[1].kind != GRAMMAR_END) next = new_place(run->tape, place.element + 1, place.next);
    if (run->tape->failed) return false;
    for (size_t s = 0; s < rule->n_sequences; s++) {
        const uint32_t inner = rule->sequences[s]->kind == GRAMMAR_END ? next : new_place(run->tape, rule->sequences[s], next);
        if (run->tape->failed || !push_place(run, inner)) return false;
    }
    return true;
}

/* Follows pending places to sets, JSON values and the end of the text. */
static bool settle(GrammarRun *run)
{
    while (run->n_pending > 0) {
        const uint32_t offset = run->pending[--run->n_pending];
        const GrammarElement *element = offset == 0 ? NULL : place_at(run->tape, offset)->element;
        if (element == NULL || element->kind == GRAMMAR_SET || element->kind == GRAMMAR_TOKEN) {
            if (!add_thread(run, offset, 0)) return false;
        } else if (element->kind == GRAMMAR_RULE) {
            if (!enter_rule(run, offset)) return false;
        } else {
            const uint32_t json = json_start(run->grammar->shapes[element->value], run->tape);
            if (json == 0 || !add_thread(run, offset, json)) return false;
        }
    }
    return true;
}

/* The place behind the element at `offset`. */
static bool go_behind(GrammarRun *run, uint32_t offset)
{
    const GrammarPlace place = *place_at(run->tape, offset);
    uint32_t next = place.next;
    if (place.element[1].kind != GRAMMAR_END) next = new_place(run->tape, place.element + 1, place.next);
    return !run->tape->failed && push_place(run, next);
}

static uint32_t finish_run(GrammarRun *run, Utf8Reader reader)
{
    if (run->n_threads == 0) return 0;
    const uint32_t offset = tape_take(run->tape, sizeof(GrammarState) + run->n_threads * sizeof(GrammarThread));
    if (offset == 0) return 0;
    *state_at(run->tape, offset) = (GrammarState){reader, run->n_threads};
    memcpy(threads_at(run->tape, offset), run->threads, run->n_threads * sizeof(GrammarThread));
    return offset;
}

uint32_t grammar_begin(const Grammar *grammar, Tape *tape)
{
    GrammarRun run = {.grammar = grammar, .tape = tape};
    const GrammarRule *rule = &grammar->rules[grammar->start];
    for (size_t s = 0; s < rule->n_sequences; s++) {
        const bool empty = rule->sequences[s]->kind == GRAMMAR_END;
        const uint32_t place = empty ? 0 : new_place(tape, rule->sequences[s], 0);
        if (tape->failed || !push_place(&run, place)) return 0;
    }
    return settle(&run) ? finish_run(&run, (Utf8Reader){0}) : 0;
}

static bool set_meets(const CharSet *set, uint32_t low, uint32_t high)
{
    size_t a = 0;
    size_t b = set->count;
    while (a < b) {
        const size_t middle = (a + b) / 2;
        if (set->ranges[middle].high < low) a = middle + 1;
        else b = middle;
    }
    return a < set->count && set->ranges[a].low <= high;
}

/* Inside JSON: the value goes on, and if it is whole, what comes behind it begins too. */
static bool step_json(GrammarRun *run, const GrammarThread *thread, unsigned char byte)
{
    const ShapeSet *shapes = run->grammar->shapes[place_at(run->tape, thread->place)->element->value];
    const uint32_t json = json_step(shapes, run->tape, thread->json, byte);
    if (json == 0) return !run->tape->failed;
    return add_thread(run, thread->place, json);
}

/* Where a whole JSON value may be left: the threads behind it read the next byte too. */
static bool leave_json(GrammarRun *run, const Tape *tape, uint32_t offset)
{
    const uint64_t n = state_at(tape, offset)->n_threads;
    for (uint64_t i = 0; i < n; i++) {
        const GrammarThread thread = threads_at(tape, offset)[i];
        if (!add_thread(run, thread.place, thread.json)) return false;
        if (thread.json != 0 && json_complete(tape, thread.json) && !go_behind(run, thread.place)) return false;
    }
    return settle(run);
}

uint32_t grammar_step(const Grammar *grammar, Tape *tape, uint32_t offset, unsigned char byte)
{
    Utf8Reader reader = state_at(tape, offset)->reader;
    uint32_t low = 0;
    uint32_t high = 0;
    const bool readable = utf8_read(&reader, byte, &low, &high);
    GrammarRun from;
    GrammarRun run;
    from.grammar = run.grammar = grammar;
    from.tape = run.tape = tape;
    from.n_pending = from.n_seen = from.n_threads = 0;
    run.n_pending = run.n_seen = run.n_threads = 0;
    if (!leave_json(&from, tape, offset)) return 0;
    for (uint32_t i = 0; i < from.n_threads; i++) {
        const GrammarThread thread = from.threads[i];
        if (thread.place == 0) continue;
        if (thread.json != 0) {
            if (!step_json(&run, &thread, byte)) return 0;
            continue;
        }
        const GrammarElement *element = place_at(tape, thread.place)->element;
        if (element->kind == GRAMMAR_TOKEN) continue;
        if (!readable || !set_meets(&grammar->sets[element->value], low, high)) continue;
        const bool ok = reader.pending == 0 ? go_behind(&run, thread.place) : add_thread(&run, thread.place, 0);
        if (!ok) return 0;
    }
    if (!settle(&run)) return 0;
    if (reader.pending == 0 || !readable) reader = (Utf8Reader){0};
    return finish_run(&run, reader);
}

/* Threads of the state and of what lies behind its whole JSON values; false without memory. */
static bool gather(GrammarRun *run, const Grammar *grammar, Tape *tape, uint32_t offset)
{
    run->grammar = grammar;
    run->tape = tape;
    run->n_pending = run->n_seen = run->n_threads = 0;
    return leave_json(run, tape, offset);
}

static bool waits_for_token(const Tape *tape, const GrammarThread *thread)
{
    return thread->place != 0 && thread->json == 0 && place_at(tape, thread->place)->element->kind == GRAMMAR_TOKEN;
}

uint32_t grammar_step_token(const Grammar *grammar, Tape *tape, uint32_t offset, int32_t token)
{
    GrammarRun from;
    GrammarRun run;
    run.grammar = grammar;
    run.tape = tape;
    run.n_pending = run.n_seen = run.n_threads = 0;
    if (state_at(tape, offset)->reader.pending != 0 || !gather(&from, grammar, tape, offset)) return 0;
    for (uint32_t i = 0; i < from.n_threads; i++) {
        if (!waits_for_token(tape, &from.threads[i])) continue;
        if (place_at(tape, from.threads[i].place)->element->value != (uint32_t)token) continue;
        if (!go_behind(&run, from.threads[i].place)) return 0;
    }
    return settle(&run) ? finish_run(&run, (Utf8Reader){0}) : 0;
}

bool grammar_tokens(const Grammar *grammar, Tape *tape, uint32_t offset, GrammarToken *found, void *context)
{
    GrammarRun run;
    if (state_at(tape, offset)->reader.pending != 0) return true;
    if (!gather(&run, grammar, tape, offset)) return false;
    for (uint32_t i = 0; i < run.n_threads; i++) {
        if (waits_for_token(tape, &run.threads[i]))
            found(context, (int32_t)place_at(tape, run.threads[i].place)->element->value);
    }
    return true;
}

bool grammar_complete(const Grammar *grammar, Tape *tape, uint32_t offset)
{
    const GrammarState *state = state_at(tape, offset);
    if (state->reader.pending != 0) return false;
    GrammarRun run;
    if (!gather(&run, grammar, tape, offset)) return false;
    for (uint32_t i = 0; i < run.n_threads; i++) {
        if (run.threads[i].place == 0) return true;
    }
    return false;
}

uint64_t grammar_hash(const Grammar *grammar, const Tape *tape, uint32_t offset)
{
    (void)grammar;
    const GrammarState *state = state_at(tape, offset);
    uint64_t hash = hash_mix(5, (uint64_t)state->reader.point << 16 | (uint64_t)state->reader.pending << 8 | state->reader.length);
    for (uint64_t i = 0; i < state->n_threads; i++) hash += hash_mix(threads_at(tape, offset)[i].hash, 11);
    return hash;
}

uint32_t grammar_json_state(const Tape *tape, uint32_t offset)
{
    const GrammarState *state = state_at(tape, offset);
    return state->n_threads == 1 ? threads_at(tape, offset)[0].json : 0;
}

bool grammar_may_meet(const Tape *tape, uint32_t offset)
{
    const GrammarState *state = state_at(tape, offset);
    for (uint64_t i = 0; i < state->n_threads; i++) {
        const uint32_t json = threads_at(tape, offset)[i].json;
        if (json != 0 && !json_may_meet(tape, json)) return false;
    }
    return true;
}

const ShapeSet *grammar_json_shapes(const Grammar *grammar, const Tape *tape, uint32_t offset)
{
    const GrammarThread *thread = threads_at(tape, offset);
    return grammar->shapes[place_at(tape, thread->place)->element->value];
}
