/*
 * constraint.c - compiled constraints and the states that follow them (constraint.h).
 *
 * A state is a tape and, for every accepted token, where its machine stood and how long the tape was: taking tokens back cuts
 * the tape. What a token leaves behind is squeezed out as far as it is cheap to see.
 */
#include "runtime/constraint/constraint_parts.h"
#include "runtime/constraint/expression.h"
#include "runtime/constraint/vocab.h"

#include <stdlib.h>
#include <string.h>

typedef struct StatePlace {
    uint32_t state;
    size_t top;
    bool ended; /* an end token was accepted */
} StatePlace;

struct ConstraintState {
    const Constraint *constraint;
    ConstraintVocab *vocab;
    Tape tape;
    StatePlace *places; /* [n_places] after 0, 1, … tokens */
    size_t n_places, capacity;
    WalkMemo *memo;
};

static uint64_t hash_text(uint64_t hash, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ULL;
    return hash;
}

ImpStatus constraint_new(MachineKind kind, const char *source, size_t length, Constraint **out)
{
    Constraint *constraint = calloc(1, sizeof *constraint);
    if (constraint == NULL) return imp_fail_memory(sizeof *constraint);
    constraint->arena.limit = (size_t)2 << 30;
    constraint->machine.kind = kind;
    constraint->identity = hash_text(0xcbf29ce484222325ULL + (uint64_t)kind, source, length);
    *out = constraint;
    return IMP_OK;
}

void constraint_identify(Constraint *constraint, const void *bytes, size_t length)
{
    constraint->identity = hash_text(constraint->identity, bytes, length);
}

void constraint_free(Constraint *constraint)
{
    if (constraint == NULL) return;
    arena_free(&constraint->arena);
    free(constraint);
}

/* Hands the constraint out, or frees it after a failure. */
static ImpStatus deliver(ImpStatus status, Constraint *constraint, Constraint **out)
{
    if (status == IMP_OK) *out = constraint;
    else constraint_free(constraint);
    return status;
}

ImpStatus constraint_compile_value(Arena *arena, const JsonValue *schema, ShapeSet **out)
{
    SchemaDocument *document = NULL;
    ImpStatus status = schema_document_create(arena, schema, &document);
    if (status == IMP_OK) status = shape_compile(arena, document, out);
    schema_document_free(document);
    return status;
}

ImpStatus constraint_compile_schema_text(const char *text, size_t length, Constraint **out)
{
    Constraint *constraint = NULL;
    const JsonValue *schema = NULL;
    ShapeSet *shapes = NULL;
    IMP_TRY(constraint_new(MACHINE_JSON, text, length, &constraint));
    ImpStatus status = json_value_parse(&constraint->arena, text, length, &schema);
    if (status != IMP_OK) status = imp_fail_prefix(status, "schema");
    if (status == IMP_OK) status = constraint_compile_value(&constraint->arena, schema, &shapes);
    constraint->machine.shapes = shapes;
    return deliver(status, constraint, out);
}

ImpStatus constraint_compile_schema(const json_t *schema, Constraint **out)
{
    Constraint *constraint = NULL;
    const JsonValue *value = NULL;
    ShapeSet *shapes = NULL;
    char *text = schema == NULL ? NULL : json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    ImpStatus status = constraint_new(MACHINE_JSON, text == NULL ? "" : text, text == NULL ? 0 : strlen(text), &constraint);
    free(text);
    if (status != IMP_OK) return status;
    constraint_identify(constraint, "values", 6); /* whose numbers are doubles, where those of a text are decimals */
    status = json_value_from_jansson(&constraint->arena, schema, &value);
    if (status == IMP_OK) status = constraint_compile_value(&constraint->arena, value, &shapes);
    constraint->machine.shapes = shapes;
    return deliver(status, constraint, out);
}

ImpStatus constraint_compile_json_object(Constraint **out)
{
    static const char schema[] = "{\"type\":\"object\"}";
    return constraint_compile_schema_text(schema, sizeof schema - 1, out);
}

ImpStatus constraint_compile_regex(const char *pattern, size_t length, Constraint **out)
{
    Constraint *constraint = NULL;
    IMP_TRY(constraint_new(MACHINE_REGEX, pattern, length, &constraint));
    ImpStatus status = expression_compile(&constraint->arena, pattern, length, EXPRESSION_WHOLE, &constraint->machine.dfa);
    if (status == IMP_OK && constraint->machine.dfa->start == DFA_DEAD)
        status = imp_fail(IMP_ERR_FORMAT, "pattern: no text matches it");
    return deliver(status, constraint, out);
}

ImpStatus constraint_compile_grammar(const char *grammar, size_t length, Constraint **out)
{
    Constraint *constraint = NULL;
    IMP_TRY(constraint_new(MACHINE_GRAMMAR, grammar, length, &constraint));
    const ImpStatus status = gbnf_parse(&constraint->arena, grammar, length, &constraint->machine.grammar);
    return deliver(status, constraint, out);
}

/*
 * States.
 */
static bool push_place(ConstraintState *state, StatePlace place)
{
    if (state->n_places == state->capacity) {
        const size_t capacity = state->capacity * 2 + 1024;
        StatePlace *grown = realloc(state->places, capacity * sizeof *grown);
        if (grown == NULL) return false;
        state->places = grown;
        state->capacity = capacity;
    }
    state->places[state->n_places++] = place;
    return true;
}

static const StatePlace *last_place(const ConstraintState *state) { return &state->places[state->n_places - 1]; }

ImpStatus constraint_state_create(const Constraint *constraint, ConstraintVocab *vocab, ConstraintState **out)
{
    ConstraintState *state = calloc(1, sizeof *state);
    if (state == NULL) return imp_fail_memory(sizeof *state);
    state->constraint = constraint;
    state->vocab = vocab;
    state->memo = walk_memo_create(vocab->words);
    uint32_t start = 0;
    if (state->memo != NULL && tape_init(&state->tape)) {
        state->tape.keys_in_tokens = vocab->keys_in_tokens;
        start = machine_start(&constraint->machine, &state->tape);
    }
    if (start == 0 || !push_place(state, (StatePlace){start, state->tape.top, false})) {
        constraint_state_free(state);
        return imp_fail(IMP_ERR_LIMIT, "the constraint cannot be started: out of memory or too many derivations at once");
    }
    *out = state;
    return IMP_OK;
}

ImpStatus constraint_state_copy(const ConstraintState *state, ConstraintState **out)
{
    ConstraintState *copy = calloc(1, sizeof *copy);
    if (copy == NULL) return imp_fail_memory(sizeof *copy);
    copy->constraint = state->constraint;
    copy->vocab = state->vocab;
    copy->capacity = state->n_places;
    copy->n_places = state->n_places;
    copy->places = malloc(state->n_places * sizeof *copy->places);
    copy->memo = walk_memo_create(state->vocab->words);
    if (copy->places == NULL || copy->memo == NULL || !tape_copy(&state->tape, &copy->tape)) {
        constraint_state_free(copy);
        return imp_fail_memory(state->tape.capacity);
    }
    memcpy(copy->places, state->places, state->n_places * sizeof *copy->places);
    *out = copy;
    return IMP_OK;
}

void constraint_state_free(ConstraintState *state)
{
    if (state == NULL) return;
    tape_free(&state->tape);
    free(state->places);
    walk_memo_free(state->memo);
    free(state);
}

/* Where tokens that stand for no text are noted: as bits, unless that is NULL, and by their number. */
typedef struct TokenNotes {
    uint32_t *bits;
    int32_t n_tokens, last;
    size_t count;
} TokenNotes;

static void note_token(void *context, int32_t token)
{
    TokenNotes *notes = context;
    if (token >= notes->n_tokens) return;
    if (notes->bits != NULL) notes->bits[token / 32] |= 1U << token % 32;
    notes->count += notes->count == 0 || notes->last != token;
    notes->last = token;
}

ImpStatus constraint_mask(ConstraintState *state, uint32_t *bits)
{
    const ConstraintVocab *vocab = state->vocab;
    const Machine *machine = &state->constraint->machine;
    const StatePlace place = *last_place(state);
    if (place.ended) {
        memset(bits, 0, vocab->words * sizeof *bits);
        return IMP_OK;
    }
    const uint64_t hash = machine_hash(machine, &state->tape, place.state);
    const uint64_t key = hash ^ state->constraint->identity;
    if (mask_cache_find(vocab->masks, key, hash, bits)) return IMP_OK;
    state->tape.work = 0;
    TokenNotes notes = {.bits = bits, .n_tokens = vocab->n_tokens};
    const bool walked = vocab_walk(vocab, state->memo, machine, &state->tape, place.state, bits) &&
                        machine_tokens(machine, &state->tape, place.state, note_token, &notes);
    const bool complete = walked && machine_complete(machine, &state->tape, place.state);
    state->tape.top = place.top;
    if (!walked || state->tape.failed) {
        state->tape.failed = false;
        return imp_fail(IMP_ERR_LIMIT, "the constraint needs too much memory or too many derivations at once");
    }
    for (size_t w = 0; complete && w < vocab->words; w++) bits[w] |= vocab->end_bits[w];
    mask_cache_add(vocab->masks, key, hash, bits);
    return IMP_OK;
}

static bool is_end(const ConstraintVocab *vocab, int32_t token) { return (vocab->end_bits[token / 32] >> token % 32 & 1) != 0; }

bool constraint_complete(const ConstraintState *state)
{
    ConstraintState *mutable_state = (ConstraintState *)(uintptr_t)state; /* the tape is scratch beyond its top */
    const StatePlace place = *last_place(state);
    mutable_state->tape.work = 0;
    const bool complete = machine_complete(&state->constraint->machine, &mutable_state->tape, place.state);
    mutable_state->tape.top = place.top;
    mutable_state->tape.failed = false;
    return complete;
}

/* Steps over bytes from the last place; 0 when they are refused, with *at the byte that was. */
static uint32_t step_bytes(ConstraintState *state, const char *bytes, size_t length, size_t *at)
{
    uint32_t next = last_place(state)->state;
    for (*at = 0; *at < length; (*at)++) {
        next = machine_step(&state->constraint->machine, &state->tape, next, (unsigned char)bytes[*at]);
        if (next == 0) return 0;
    }
    return next;
}

/* Steps over a token from the last place: over its bytes, or over itself where it is asked for. */
static uint32_t step_token(ConstraintState *state, int32_t token)
{
    const StatePlace *place = last_place(state);
    size_t length = 0;
    size_t at = 0;
    const char *bytes = vocab_token(state->vocab, token, &length);
    const uint32_t next = length == 0 ? 0 : step_bytes(state, bytes, length, &at);
    if (next != 0 || state->tape.failed) return next;
    state->tape.top = place->top;
    return machine_step_token(&state->constraint->machine, &state->tape, place->state, token);
}

bool constraint_advance(ConstraintState *state, int32_t token)
{
    const StatePlace place = *last_place(state);
    if (token < 0 || token >= state->vocab->n_tokens || place.ended) return false;
    if (is_end(state->vocab, token) && constraint_complete(state))
        return push_place(state, (StatePlace){place.state, place.top, true});
    state->tape.work = 0;
    const uint32_t next = step_token(state, token);
    uint32_t kept = next;
    if (next != 0) kept = machine_squeeze(&state->constraint->machine, &state->tape, place.top, place.state, next);
    if (next != 0 && push_place(state, (StatePlace){kept, state->tape.top, false})) return true;
    state->tape.top = place.top;
    state->tape.failed = false;
    return false;
}

size_t constraint_refused_at(ConstraintState *state, int32_t token)
{
    size_t length = 0;
    size_t at = 0;
    const char *bytes = vocab_token(state->vocab, token, &length);
    (void)step_bytes(state, bytes, length, &at);
    state->tape.top = last_place(state)->top;
    state->tape.failed = false;
    return at;
}

void constraint_rollback(ConstraintState *state, size_t n_tokens)
{
    const size_t n = state->n_places - 1;
    state->n_places -= n_tokens < n ? n_tokens : n;
    state->tape.top = last_place(state)->top;
}

size_t constraint_length(const ConstraintState *state) { return state->n_places - 1; }

/* The bytes that may follow: *only is the last of them. Stops counting at 2. */
static int count_bytes(ConstraintState *state, uint32_t from, bool ignore_backslash, unsigned char *only, uint32_t *next)
{
    int count = 0;
    for (int byte = 0; byte < 256 && count < 2; byte++) {
        if (ignore_backslash && byte == '\\') continue;
        const size_t top = state->tape.top;
        const uint32_t to = machine_step(&state->constraint->machine, &state->tape, from, (unsigned char)byte);
        if (to == 0) {
            state->tape.top = top;
            continue;
        }
        count++;
        *only = (unsigned char)byte;
        *next = to;
    }
    return count;
}

bool constraint_finished(ConstraintState *state)
{
    const StatePlace place = *last_place(state);
    const Machine *machine = &state->constraint->machine;
    unsigned char byte = 0;
    uint32_t next = 0;
    if (place.ended) return true;
    if (!constraint_complete(state)) return false;
    if (machine->kind == MACHINE_JSON) return json_finished(&state->tape, place.state);
    TokenNotes notes = {.n_tokens = state->vocab->n_tokens};
    const bool more = count_bytes(state, place.state, false, &byte, &next) > 0;
    (void)machine_tokens(machine, &state->tape, place.state, note_token, &notes);
    state->tape.top = place.top;
    return !more && notes.count == 0;
}

/* constraint_forced_bytes, leaving the tape as it is behind them; *end: the state there, *stopped: not for want of room. */
static size_t force_bytes(ConstraintState *state, char *bytes, size_t capacity, uint32_t *end, bool *stopped)
{
    const Machine *machine = &state->constraint->machine;
    const StatePlace place = *last_place(state);
    size_t n = 0;
    *end = place.state;
    *stopped = true;
    for (; n < capacity && !place.ended; n++) {
        bool ignore_backslash = false;
        unsigned char byte = 0;
        uint32_t next = 0;
        if (!machine_may_force(machine, &state->tape, *end, &ignore_backslash)) return n;
        if (machine_complete(machine, &state->tape, *end)) return n;
        if (count_bytes(state, *end, ignore_backslash, &byte, &next) != 1) return n;
        bytes[n] = (char)byte;
        *end = next;
    }
    *stopped = false;
    return n;
}

static void forget_tries(ConstraintState *state)
{
    state->tape.top = last_place(state)->top;
    state->tape.failed = false;
}

size_t constraint_forced_bytes(ConstraintState *state, char *bytes, size_t capacity)
{
    uint32_t end = 0;
    bool stopped = false;
    const size_t n = force_bytes(state, bytes, capacity, &end, &stopped);
    forget_tries(state);
    return n;
}

/* Some token begins with the text and goes on with a byte that may follow it in state `end`. */
static bool token_goes_on(ConstraintState *state, const char *text, size_t length, uint32_t end)
{
    size_t node = 0;
    size_t last = 0;
    if (!vocab_children(state->vocab, text, length, &node, &last)) return false;
    for (; node < last; node = state->vocab->all.nodes[node].end) {
        const size_t top = state->tape.top;
        const uint8_t byte = state->vocab->all.nodes[node].byte;
        const bool goes_on = machine_step(&state->constraint->machine, &state->tape, end, byte) != 0;
        state->tape.top = top;
        if (goes_on) return true;
    }
    return false;
}

/* The token without text that must come next: where no byte may, and no other token. */
static bool forced_token(ConstraintState *state, int32_t *token)
{
    const StatePlace place = *last_place(state);
    const Machine *machine = &state->constraint->machine;
    TokenNotes notes = {.n_tokens = state->vocab->n_tokens};
    unsigned char byte = 0;
    uint32_t next = 0;
    if (machine->kind != MACHINE_GRAMMAR || place.ended || constraint_complete(state)) return false;
    const bool noted = machine_tokens(machine, &state->tape, place.state, note_token, &notes);
    const bool only = noted && notes.count == 1 && count_bytes(state, place.state, false, &byte, &next) == 0;
    state->tape.top = place.top;
    state->tape.failed = false;
    *token = notes.last;
    return only;
}

size_t constraint_forced_tokens(ConstraintState *state, int32_t *tokens, size_t capacity)
{
    char bytes[512];
    uint32_t end = 0;
    bool stopped = false;
    const size_t length = force_bytes(state, bytes, sizeof bytes, &end, &stopped);
    size_t n = 0;
    size_t at = 0;
    size_t last = 0;
    for (; at < length && n < capacity; n++) {
        size_t size = 0;
        tokens[n] = vocab_longest(state->vocab, bytes + at, length - at);
        if (tokens[n] < 0) break;
        (void)vocab_token(state->vocab, tokens[n], &size);
        last = at;
        at += size;
    }
    /* Where the last token could be a longer one, which one it is is the model's to say. */
    if (n > 0 && at == length && stopped && token_goes_on(state, bytes + last, length - last, end)) n--;
    forget_tries(state);
    if (length == 0 && capacity > 0) return forced_token(state, tokens);
    return n;
}
