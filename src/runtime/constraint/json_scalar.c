/*
 * json_scalar.c - strings, numbers, null, true and false.
 */
#include "runtime/constraint/json_state.h"

#include <string.h>

void json_narrow(const char *const *sorted, const size_t *lengths, uint32_t *low, uint32_t *high, size_t depth,
                 unsigned char byte)
{
    /* First whose byte is >= byte, then first whose byte is > byte; a string that ends here sorts first. */
    uint32_t bounds[2];
    for (int i = 0; i < 2; i++) {
        uint32_t a = *low;
        uint32_t b = *high;
        while (a < b) {
            const uint32_t middle = (a + b) / 2;
            const int here = lengths[middle] > depth ? (unsigned char)sorted[middle][depth] : -1;
            if (here < byte + i) a = middle + 1;
            else b = middle;
        }
        bounds[i] = a;
    }
    *low = bounds[0];
    *high = bounds[1];
}

/* Accepted goals, on the tape. */
static bool *new_flags(const JsonMachine *machine, const JsonState *state)
{
    const uint32_t n = state->frame == 0 ? 1 : json_frame(machine->tape, state->frame)->n_targets;
    const uint32_t offset = tape_take(machine->tape, n + 1);
    if (offset == 0) return NULL;
    memset(tape_at(machine->tape, offset), 0, n + 1);
    return tape_at(machine->tape, offset);
}

/*
 * Strings.
 */
static bool shape_takes(const StringShape *shape, uint32_t automaton, uint32_t characters)
{
    if (shape->dfa == NULL) return characters <= shape->max_length;
    const uint32_t least = shape->min_length > characters ? shape->min_length - characters : 0;
    if (characters > shape->max_length) return false;
    const uint32_t most = shape->max_length == DFA_UNBOUNDED ? DFA_UNBOUNDED : shape->max_length - characters;
    return dfa_within(shape->dfa, automaton, least, most);
}

/* Texts that still can come, as far as they can be counted. */
static uint32_t completions(const StringShape *shape, const JsonLeaf *leaf, uint32_t characters)
{
    if (shape->listed) return leaf->b - leaf->a;
    if (shape->dfa != NULL) return shape->dfa->completions[leaf->a];
    return shape->max_length == characters ? 1 : DFA_UNBOUNDED;
}

static bool shape_holds(const StringShape *shape, const char *text, size_t length)
{
    Goal goal = {.n_strings = 1, .strings = &shape};
    return goal_accepts_string(&goal, text, length);
}

/* Some completion differs from every earlier item that begins alike. */
static bool differs_somehow(const JsonMachine *machine, uint32_t frame, const JsonLeaf *leaf, const char *prefix,
                            uint32_t bytes, uint32_t characters)
{
    const Tape *tape = machine->tape;
    const StringShape *shape = leaf->shape;
    const uint32_t possible = completions(shape, leaf, characters);
    if (possible == DFA_UNBOUNDED) return true;
    for (uint32_t i = leaf->a; shape->listed && i < leaf->b; i++) {
        if (!json_text_was_seen(machine, frame, shape->strings[i], shape->lengths[i])) return true;
    }
    if (shape->listed) return false;
    uint32_t taken = 0;
    for (uint32_t at = json_frame(tape, frame)->seen; at != 0;) {
        const JsonSeen *seen = tape_at(tape, at);
        const char *text = json_seen_text(tape, seen);
        taken += seen->type == JSON_VALUE_STRING && seen->length >= bytes && memcmp(text, prefix, bytes) == 0 &&
                 shape_holds(leaf->shape, text, seen->length);
        at = seen->next;
    }
    return possible > taken;
}

/* Earlier items that begin like the string and whose next character is in low … high, as far as the shape holds them. */
static uint64_t taken_behind(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, uint32_t low,
                             uint32_t high)
{
    const Tape *tape = machine->tape;
    uint64_t taken = 0;
    for (uint32_t at = leaf->unique ? json_frame(tape, state->frame)->seen : 0; at != 0;) {
        const JsonSeen *seen = tape_at(tape, at);
        const char *text = json_seen_text(tape, seen);
        size_t next = state->bytes;
        at = seen->next;
        if (seen->type != JSON_VALUE_STRING || seen->length <= next) continue;
        if (memcmp(text, tape->text + state->text, next) != 0 || !shape_holds(leaf->shape, text, seen->length)) continue;
        const uint32_t c = utf8_next(text, seen->length, &next);
        taken += c >= low && c <= high;
    }
    return taken;
}

uint32_t json_open_string(const JsonMachine *machine, uint32_t offset)
{
    const Tape *tape = machine->tape;
    const JsonState *state = json_state(tape, offset);
    size_t n = 0;
    for (uint32_t i = 0; i < state->n_leaves; i++) n += ((const Goal *)json_leaves(tape, offset)[i].shape)->n_strings;
    if (n == 0) return 0;
    const uint32_t next = json_new_state(machine, offset, (uint32_t)n);
    if (next == 0) return 0;
    JsonState *opened = json_state(tape, next);
    state = json_state(tape, offset);
    opened->mode = MODE_STRING;
    opened->escape = JSON_PLAIN;
    opened->characters = opened->bytes = 0;
    opened->content_hash = JSON_EMPTY_TEXT_HASH;
    opened->kept = opened->frame != 0 && json_frame(tape, opened->frame)->keeps;
    opened->n_leaves = 0;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *from = &json_leaves(tape, offset)[i];
        const Goal *goal = from->shape;
        for (size_t k = 0; k < goal->n_strings; k++) {
            const StringShape *shape = goal->strings[k];
            JsonLeaf leaf = {.shape = shape, .target = from->target, .unique = from->unique};
            if (shape->listed) leaf.b = (uint32_t)shape->n_strings;
            else if (shape->dfa != NULL) leaf.a = shape->dfa->start;
            if (leaf.unique && !differs_somehow(machine, state->frame, &leaf, "", 0, 0)) continue;
            json_leaves(tape, next)[opened->n_leaves++] = leaf;
        }
    }
    return opened->n_leaves == 0 ? 0 : next;
}

static bool any_unique(const JsonLeaf *leaves, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (leaves[i].unique) return true;
    }
    return false;
}

/* Every leaf takes the character and is where it was, and nobody counts: the state is the same. */
static bool unchanged(const JsonState *state, const JsonLeaf *leaves, uint32_t code_point)
{
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const StringShape *shape = leaves[i].shape;
        if (shape->listed || shape->min_length > 0 || shape->max_length != DFA_UNBOUNDED) return false;
        if (shape->dfa != NULL && dfa_step(shape->dfa, leaves[i].a, code_point) != leaves[i].a) return false;
    }
    return true;
}

uint32_t json_string_character(const JsonMachine *machine, uint32_t offset, uint32_t code_point)
{
    const Tape *tape = machine->tape;
    char bytes[4];
    const size_t size = utf8_put(code_point, bytes);
    const JsonState *before = json_state(tape, offset);
    const bool kept = before->kept;
    if (before->escape == JSON_PLAIN && !kept && unchanged(before, json_leaves(tape, offset), code_point)) return offset;
    if (kept && !tape_put(machine->tape, before->text + before->bytes, bytes, size)) return 0;
    const uint32_t next = json_new_state(machine, offset, before->n_leaves);
    if (next == 0) return 0;
    JsonState *after = json_state(tape, next);
    const uint32_t n = after->n_leaves;
    json_end_character(after);
    after->characters++;
    after->bytes += (uint32_t)size;
    after->n_leaves = 0;
    if (kept) after->content_hash = hash_mix(after->content_hash, code_point);
    for (uint32_t i = 0; i < n; i++) {
        JsonLeaf leaf = json_leaves(tape, offset)[i];
        const StringShape *shape = leaf.shape;
        if (shape->listed) {
            for (size_t k = 0; k < size && leaf.a < leaf.b; k++)
                json_narrow(shape->strings, shape->lengths, &leaf.a, &leaf.b, after->bytes - size + k,
                            (unsigned char)bytes[k]);
            if (leaf.a == leaf.b) continue;
        } else {
            if (shape->dfa != NULL) leaf.a = dfa_step(shape->dfa, leaf.a, code_point);
            if (!shape_takes(shape, leaf.a, after->characters)) continue;
        }
        const char *text = tape->text + after->text;
        if (leaf.unique && !differs_somehow(machine, after->frame, &leaf, text, after->bytes, after->characters)) continue;
        json_leaves(tape, next)[after->n_leaves++] = leaf;
    }
    return after->n_leaves == 0 ? 0 : next;
}

bool json_string_possible(const JsonMachine *machine, uint32_t offset, uint32_t low, uint32_t high)
{
    const JsonState *state = json_state(machine->tape, offset);
    const JsonLeaf *leaves = json_leaves(machine->tape, offset);
    if (low == high) return json_string_character(machine, offset, low) != 0;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const StringShape *shape = leaves[i].shape;
        uint64_t listed = 0;
        for (uint32_t k = leaves[i].a; shape->listed && k < leaves[i].b; k++) {
            size_t at = state->bytes;
            if (shape->lengths[k] <= at) continue;
            const uint32_t c = utf8_next(shape->strings[k], shape->lengths[k], &at);
            listed += c >= low && c <= high;
        }
        if (listed > 0 && listed > taken_behind(machine, state, &leaves[i], low, high)) return true;
        if (shape->listed || state->characters >= shape->max_length) continue;
        if (shape->dfa == NULL) return true;
        const uint64_t ways = leaves[i].unique ? dfa_range_completions(shape->dfa, leaves[i].a, low, high) : UINT64_MAX;
        if (ways == 0 || (ways != UINT64_MAX && ways <= taken_behind(machine, state, &leaves[i], low, high))) continue;
        const uint32_t least = shape->min_length > state->characters ? shape->min_length - state->characters : 0;
        const uint32_t most =
            shape->max_length == DFA_UNBOUNDED ? DFA_UNBOUNDED : shape->max_length - state->characters;
        if (dfa_step_possible(shape->dfa, leaves[i].a, low, high, least, most)) return true;
    }
    return false;
}

static bool string_ends(const JsonState *state, const JsonLeaf *leaf)
{
    const StringShape *shape = leaf->shape;
    if (shape->listed) return shape->lengths[leaf->a] == state->bytes;
    if (state->characters < shape->min_length || state->characters > shape->max_length) return false;
    return shape->dfa == NULL || shape->dfa->label[leaf->a] != 0;
}

uint32_t json_close_string(const JsonMachine *machine, uint32_t offset)
{
    const uint32_t text = json_state(machine->tape, offset)->kept ? json_keep_text(machine, offset) : 0;
    bool *accepted = machine->tape->failed ? NULL : new_flags(machine, json_state(machine->tape, offset));
    if (accepted == NULL) return 0;
    const JsonState *state = json_state(machine->tape, offset);
    const JsonLeaf *leaves = json_leaves(machine->tape, offset);
    const JsonSeen seen = {.type = JSON_VALUE_STRING, .start = text, .length = state->bytes, .hash = state->content_hash};
    const bool unique = any_unique(leaves, state->n_leaves);
    const bool repeated = unique && json_was_seen(machine, state->frame, &seen);
    bool any = false;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        if (!string_ends(state, &leaves[i]) || (leaves[i].unique && repeated)) continue;
        accepted[leaves[i].target] = true;
        any = true;
    }
    return any ? json_finish_value(machine, offset, accepted, state->kept ? &seen : NULL) : 0;
}

/* Finished values are kept where the state is. */
static bool keeps_values(const JsonMachine *machine, uint32_t offset)
{
    const uint32_t frame = json_state(machine->tape, offset)->frame;
    return frame != 0 && json_frame(machine->tape, frame)->keeps;
}

/*
 * null, true, false.
 */
static const char *const literal_texts[] = {
    [JSON_VALUE_NULL] = "null", [JSON_VALUE_FALSE] = "false", [JSON_VALUE_TRUE] = "true"};

static bool goal_allows(const Goal *goal, JsonType type)
{
    return type == JSON_VALUE_NULL ? goal->null_allowed : type == JSON_VALUE_TRUE ? goal->true_allowed
                                                                                  : goal->false_allowed;
}

uint32_t json_open_literal(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const Tape *tape = machine->tape;
    const JsonType type = byte == 'n' ? JSON_VALUE_NULL : byte == 't' ? JSON_VALUE_TRUE : JSON_VALUE_FALSE;
    const uint32_t next = json_new_state(machine, offset, json_state(tape, offset)->n_leaves);
    if (next == 0) return 0;
    JsonState *opened = json_state(tape, next);
    const uint32_t n = opened->n_leaves;
    const JsonSeen seen = {.type = type};
    opened->mode = MODE_LITERAL;
    opened->literal = type;
    opened->bytes = 1;
    opened->n_leaves = 0;
    for (uint32_t i = 0; i < n; i++) {
        const JsonLeaf leaf = json_leaves(tape, offset)[i];
        if (!goal_allows(leaf.shape, type)) continue;
        if (leaf.unique && json_was_seen(machine, opened->frame, &seen)) continue;
        json_leaves(tape, next)[opened->n_leaves++] = leaf;
    }
    return opened->n_leaves == 0 ? 0 : next;
}

uint32_t json_literal_byte(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const Tape *tape = machine->tape;
    const char *text = literal_texts[json_state(tape, offset)->literal];
    const uint32_t at = json_state(tape, offset)->bytes;
    const uint32_t n = json_state(tape, offset)->n_leaves;
    if ((unsigned char)text[at] != byte) return 0;
    if (text[at + 1] != '\0') {
        const uint32_t next = json_new_state(machine, offset, n);
        if (next == 0) return 0;
        memcpy(json_leaves(tape, next), json_leaves(tape, offset), n * sizeof(JsonLeaf));
        json_state(tape, next)->bytes++;
        return next;
    }
    bool *accepted = new_flags(machine, json_state(tape, offset));
    if (accepted == NULL) return 0;
    for (uint32_t i = 0; i < n; i++) accepted[json_leaves(tape, offset)[i].target] = true;
    const JsonSeen seen = {.type = (JsonType)json_state(tape, offset)->literal};
    return json_finish_value(machine, offset, accepted, keeps_values(machine, offset) ? &seen : NULL);
}

/*
 * Numbers.
 */

/* A shape that refuses the earlier items of the array too. */
typedef struct UniqueShape {
    const JsonMachine *machine;
    uint32_t frame;
    NumberShape shape;
} UniqueShape;

static bool is_taken(const void *context, Decimal value, bool is_float)
{
    const UniqueShape *unique = context;
    Tape *tape = unique->machine->tape;
    if (++tape->work > TAPE_MAX_WORK) tape->failed = true;
    return json_number_was_seen(unique->machine, unique->frame, value, is_float);
}

static const NumberShape *unique_shape(const JsonMachine *machine, uint32_t frame, const NumberShape *shape, UniqueShape *unique)
{
    *unique = (UniqueShape){machine, frame, *shape};
    unique->shape.is_taken = is_taken;
    unique->shape.taken_context = unique;
    unique->shape.n_taken = json_frame(machine->tape, frame)->count;
    return &unique->shape;
}

static const NumberShape *leaf_shape(const JsonMachine *machine, uint32_t frame, const JsonLeaf *leaf, UniqueShape *unique)
{
    return leaf->unique ? unique_shape(machine, frame, leaf->shape, unique) : leaf->shape;
}

/* Keeps the leaves of `offset` for which the number in `next` is live. */
static uint32_t keep_live(const JsonMachine *machine, uint32_t offset, uint32_t next)
{
    const Tape *tape = machine->tape;
    const uint32_t n = json_state(tape, offset)->n_leaves;
    const NumberText number = json_state(tape, next)->number;
    const uint32_t frame = json_state(tape, next)->frame;
    const size_t top = tape->top;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        const JsonLeaf leaf = json_leaves(tape, offset)[i];
        UniqueShape unique;
        if (!number_live(leaf_shape(machine, frame, &leaf, &unique), &number)) continue;
        json_leaves(tape, next)[kept++] = leaf;
    }
    machine->tape->top = top;
    json_state(tape, next)->n_leaves = kept;
    return kept == 0 ? 0 : next;
}

uint32_t json_open_number(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const Tape *tape = machine->tape;
    size_t n = 0;
    for (uint32_t i = 0; i < json_state(tape, offset)->n_leaves; i++)
        n += ((const Goal *)json_leaves(tape, offset)[i].shape)->n_numbers;
    if (n == 0) return 0;
    const uint32_t all = json_new_state(machine, offset, (uint32_t)n);
    const uint32_t next = all == 0 ? 0 : json_new_state(machine, all, (uint32_t)n);
    if (next == 0) return 0;
    n = 0;
    for (uint32_t i = 0; i < json_state(tape, offset)->n_leaves; i++) {
        const JsonLeaf *from = &json_leaves(tape, offset)[i];
        const Goal *goal = from->shape;
        for (size_t k = 0; k < goal->n_numbers; k++)
            json_leaves(tape, all)[n++] =
                (JsonLeaf){.shape = goal->numbers[k], .target = from->target, .unique = from->unique};
    }
    JsonState *opened = json_state(tape, next);
    opened->mode = MODE_NUMBER;
    opened->number = (NumberText){0};
    return number_put(&opened->number, byte) ? keep_live(machine, all, next) : 0;
}

static uint32_t end_number(const JsonMachine *machine, uint32_t offset)
{
    const Tape *tape = machine->tape;
    bool *accepted = new_flags(machine, json_state(tape, offset));
    if (accepted == NULL) return 0;
    const ptrdiff_t flags = (uint8_t *)accepted - tape->memory;
    const NumberText number = json_state(tape, offset)->number;
    const uint32_t frame = json_state(tape, offset)->frame;
    const uint32_t n = json_state(tape, offset)->n_leaves;
    const size_t top = tape->top;
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        const JsonLeaf leaf = json_leaves(tape, offset)[i];
        UniqueShape unique;
        if (!number_complete(leaf_shape(machine, frame, &leaf, &unique), &number)) continue;
        ((bool *)(tape->memory + flags))[leaf.target] = true;
        any = true;
    }
    machine->tape->top = top;
    if (!any) return 0;
    if (!keeps_values(machine, offset)) return json_finish_value(machine, offset, (bool *)(tape->memory + flags), NULL);
    JsonSeen seen = {.type = JSON_VALUE_NUMBER, .number = number_value(&number)};
    /* Numbers with a point or exponent are doubles to those who compare. */
    if (number.phase > NUMBER_DIGITS) seen.number = decimal_normalize(decimal_from_double(decimal_to_double(seen.number)));
    seen.hash = decimal_hash(seen.number);
    return json_finish_value(machine, offset, (bool *)(tape->memory + flags), &seen);
}

uint32_t json_number_byte(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const Tape *tape = machine->tape;
    NumberText number = json_state(tape, offset)->number;
    if (number_put(&number, byte)) {
        const uint32_t next = json_new_state(machine, offset, json_state(tape, offset)->n_leaves);
        if (next == 0) return 0;
        json_state(tape, next)->number = number;
        return keep_live(machine, offset, next);
    }
    const uint32_t ended = end_number(machine, offset);
    return ended == 0 ? 0 : json_step(machine->shapes, machine->tape, ended, byte);
}

bool json_number_complete(const JsonMachine *machine, uint32_t offset)
{
    const JsonState *state = json_state(machine->tape, offset);
    const JsonLeaf *leaves = json_leaves(machine->tape, offset);
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        if (number_complete(leaves[i].shape, &state->number)) return true;
    }
    return false;
}

/* Earlier items that are arrays and objects of the goal, at most. */
static uint32_t containers_seen(const Tape *tape, uint32_t frame, const Goal *goal)
{
    uint32_t n = 0;
    for (uint32_t at = goal->n_containers == 0 ? 0 : json_frame(tape, frame)->seen; at != 0;) {
        const JsonSeen *seen = tape_at(tape, at);
        n += (seen->type == JSON_VALUE_ARRAY || seen->type == JSON_VALUE_OBJECT) && json_goal_takes(tape, goal, seen);
        at = seen->next;
    }
    return n;
}

bool json_goal_unused(const JsonMachine *machine, uint32_t frame, const Goal *goal)
{
    static const JsonType literals[] = {JSON_VALUE_NULL, JSON_VALUE_FALSE, JSON_VALUE_TRUE};
    if (goal->n_values > json_frame(machine->tape, frame)->count) return true;
    if (goal->n_containers > containers_seen(machine->tape, frame, goal)) return true;
    for (size_t i = 0; i < 3; i++) {
        const JsonSeen seen = {.type = literals[i]};
        if (goal_allows(goal, literals[i]) && !json_was_seen(machine, frame, &seen)) return true;
    }
    for (size_t i = 0; i < goal->n_strings; i++) {
        const StringShape *shape = goal->strings[i];
        JsonLeaf leaf = {.shape = shape};
        if (shape->listed) leaf.b = (uint32_t)shape->n_strings;
        else if (shape->dfa != NULL) leaf.a = shape->dfa->start;
        if (differs_somehow(machine, frame, &leaf, "", 0, 0)) return true;
    }
    for (size_t i = 0; i < goal->n_numbers; i++) {
        UniqueShape unique;
        if (number_live(unique_shape(machine, frame, goal->numbers[i], &unique), &(NumberText){0})) return true;
    }
    return false;
}

uint32_t json_string_ways(const JsonState *state, const JsonLeaf *leaf)
{
    const StringShape *shape = leaf->shape;
    const bool bounded = shape->min_length > 0 || shape->max_length != DFA_UNBOUNDED;
    return !shape->listed && shape->dfa != NULL && bounded ? 1 : completions(shape, leaf, state->characters);
}

bool json_string_avoids(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, const JsonSeen *const *others,
                        size_t n_others)
{
    const Tape *tape = machine->tape;
    const char *prefix = tape->text + state->text;
    const uint32_t possible = completions(leaf->shape, leaf, state->characters);
    uint32_t taken = 0;
    if (possible > n_others) return true;
    for (size_t i = 0; i < n_others; i++) {
        const char *text = json_seen_text(tape, others[i]);
        bool counted = others[i]->type != JSON_VALUE_STRING || others[i]->length < state->bytes ||
                       memcmp(text, prefix, state->bytes) != 0 || !shape_holds(leaf->shape, text, others[i]->length);
        for (size_t k = 0; k < i && !counted; k++)
            counted = others[k]->type == JSON_VALUE_STRING && others[k]->length == others[i]->length &&
                      memcmp(json_seen_text(tape, others[k]), text, others[i]->length) == 0;
        taken += !counted;
    }
    return possible > taken;
}

/* What a number must not be beside earlier items. */
typedef struct OtherNumbers {
    const JsonMachine *machine;
    uint32_t frame;
    bool unique; /* nor one of those */
    const JsonSeen *const *others;
    size_t n;
} OtherNumbers;

static bool is_other(const void *context, Decimal value, bool is_float)
{
    const OtherNumbers *other = context;
    other->machine->tape->work += other->n;
    for (size_t i = 0; i < other->n; i++) {
        const JsonSeen *seen = other->others[i];
        if (seen->type != JSON_VALUE_NUMBER) continue;
        if (decimal_compare(seen->number, value) == 0) return true;
        if (is_float && decimal_to_double(seen->number) == decimal_to_double(value)) return true;
    }
    return other->unique && json_number_was_seen(other->machine, other->frame, value, is_float);
}

bool json_number_avoids(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, const JsonSeen *const *others,
                        size_t n_others)
{
    const size_t n_taken = n_others + (leaf->unique ? json_frame(machine->tape, state->frame)->count : 0);
    const OtherNumbers numbers = {machine, state->frame, leaf->unique, others, n_others};
    NumberShape shape = *(const NumberShape *)leaf->shape;
    if (number_has_more(&shape, &state->number, n_taken)) return true;
    shape.is_taken = is_other;
    shape.taken_context = &numbers;
    shape.n_taken = n_taken;
    return number_live(&shape, &state->number);
}
