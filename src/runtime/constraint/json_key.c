/*
 * json_key.c - keys of objects.
 *
 * All names of the schema are sorted in one table; a key being read is a range of it. For each possible shape of the object a
 * key is either one of those names or a free key, followed by the shape's automaton. A shape with a maximum of properties
 * keeps room for the keys that it still requires.
 */
#include "runtime/constraint/json_state.h"

#include <string.h>

static bool has_bit(const uint64_t *bits, uint32_t id) { return (bits[id / 64] >> id % 64 & 1) != 0; }

static int count_bits(uint64_t word) { return __builtin_popcountll(word); }

/* Word w of the keys that the shape still needs, those that present keys bring with them included. */
static uint64_t needed_word(const ObjectShape *shape, const uint64_t *keys, size_t w)
{
    uint64_t needed = shape->required[w];
    for (size_t d = 0; d < shape->n_dependents; d++) {
        if (has_bit(keys, shape->dependents[d].id)) needed |= shape->dependents[d].needs[w];
    }
    return needed & ~keys[w];
}

bool json_keys_complete(const JsonMachine *machine, uint32_t offset, const JsonItem *item)
{
    const ObjectShape *shape = item->shape;
    const JsonFrame *frame = json_frame(machine->tape, offset);
    const uint64_t *keys = json_frame_keys(machine->tape, offset);
    for (size_t w = 0; w < machine->shapes->words; w++) {
        if (needed_word(shape, keys, w) != 0) return false;
    }
    return frame->count >= shape->min_properties && frame->count <= shape->max_properties &&
           item->exists == (1U << shape->n_exists) - 1;
}

/* Keys that can be added beyond those that must still come. */
static uint64_t spare_room(const JsonMachine *machine, uint32_t offset, const JsonItem *item)
{
    const ObjectShape *shape = item->shape;
    const uint64_t *keys = json_frame_keys(machine->tape, offset);
    if (shape->max_properties == SHAPE_UNBOUNDED) return SHAPE_UNBOUNDED;
    uint64_t taken = json_frame(machine->tape, offset)->count;
    for (size_t w = 0; w < machine->shapes->words; w++) taken += (uint64_t)count_bits(needed_word(shape, keys, w));
    return taken >= shape->max_properties ? 0 : shape->max_properties - taken;
}

/* The numbered key can be added, together with the keys that it brings with it. */
static bool name_fits(const JsonMachine *machine, uint32_t offset, const ObjectShape *shape, uint64_t room, uint32_t id)
{
    const uint64_t *keys = json_frame_keys(machine->tape, offset);
    if (!has_bit(shape->allowed, id) || has_bit(keys, id)) return false;
    if (room == SHAPE_UNBOUNDED) return true;
    uint64_t extra = 0;
    for (size_t w = 0; w < machine->shapes->words; w++) {
        uint64_t more = w == id / 64 ? 1ULL << id % 64 : 0;
        for (size_t d = 0; d < shape->n_dependents; d++) {
            if (shape->dependents[d].id == id) more |= shape->dependents[d].needs[w];
        }
        extra += (uint64_t)count_bits(more & ~keys[w] & ~needed_word(shape, keys, w));
    }
    return extra <= room;
}

/* The bits low … high-1 of word w. */
static uint64_t range_word(uint32_t low, uint32_t high, size_t w)
{
    uint64_t mask = UINT64_MAX;
    if (low > w * 64) mask = low - w * 64 >= 64 ? 0 : mask << (low - w * 64);
    if (high < (w + 1) * 64) mask &= high <= w * 64 ? 0 : UINT64_MAX >> ((w + 1) * 64 - high);
    return mask;
}

static bool some_name_fits(const JsonMachine *machine, uint32_t offset, const ObjectShape *shape, uint64_t room,
                           uint32_t low, uint32_t high)
{
    const uint64_t *keys = json_frame_keys(machine->tape, offset);
    for (size_t w = low / 64; w * 64 < high; w++) {
        uint64_t candidates = shape->allowed[w] & ~keys[w] & range_word(low, high, w);
        if (room == SHAPE_UNBOUNDED && candidates != 0) return true;
        for (; candidates != 0; candidates &= candidates - 1) {
            const uint32_t id = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(candidates));
            if (name_fits(machine, offset, shape, room, id)) return true;
        }
    }
    return false;
}

/* Keys that begin with the `bytes` that were read and that the automaton accepts, but that are taken: names with goals of their
 * own, and keys already there. */
static uint64_t taken_keys(const JsonMachine *machine, uint32_t offset, const ObjectShape *shape, const JsonState *state,
                           uint32_t bytes, uint32_t low, uint32_t high)
{
    const Tape *tape = machine->tape;
    const uint64_t *keys = json_frame_keys(tape, offset);
    uint64_t taken = 0;
    for (size_t w = low / 64; w * 64 < high; w++) {
        const uint64_t seen = keys[w] & shape->allowed[w];
        taken += (uint64_t)count_bits((shape->own[w] | seen) & range_word(low, high, w));
    }
    for (uint32_t at = json_frame(tape, offset)->seen; at != 0;) {
        const JsonSeen *seen = tape_at(tape, at);
        taken += seen->length >= bytes && memcmp(json_seen_text(tape, seen), tape->text + state->text, bytes) == 0;
        at = seen->next;
    }
    return taken;
}

/* The next character of text[length] after `bytes` is in low … high. */
static bool continues_within(const char *text, size_t length, size_t bytes, uint32_t low, uint32_t high)
{
    if (length <= bytes) return false;
    const uint32_t c = utf8_next(text, length, &bytes);
    return c >= low && c <= high;
}

/* First of the names in the key's range whose next character is `least` or more. */
static uint32_t first_name_from(const JsonMachine *machine, const JsonState *state, uint32_t least)
{
    uint32_t a = state->names_low;
    uint32_t b = state->names_high;
    while (a < b) {
        const uint32_t middle = (a + b) / 2;
        size_t at = state->bytes;
        const size_t length = machine->shapes->name_lengths[middle];
        if (length <= at || utf8_next(machine->shapes->names[middle], length, &at) < least) a = middle + 1;
        else b = middle;
    }
    return a;
}

/* As taken_keys, of the keys whose next character is in low … high. */
static uint64_t taken_behind(const JsonMachine *machine, const JsonState *state, const ObjectShape *shape, uint32_t low,
                             uint32_t high)
{
    const Tape *tape = machine->tape;
    const uint64_t *keys = json_frame_keys(tape, state->frame);
    const uint32_t first = first_name_from(machine, state, low);
    const uint32_t last = first_name_from(machine, state, high + 1);
    uint64_t taken = 0;
    for (size_t w = first / 64; w * 64 < last; w++) {
        const uint64_t seen = keys[w] & shape->allowed[w];
        taken += (uint64_t)count_bits((shape->own[w] | seen) & range_word(first, last, w));
    }
    for (uint32_t at = json_frame(tape, state->frame)->seen; at != 0;) {
        const JsonSeen *seen = tape_at(tape, at);
        const char *text = json_seen_text(tape, seen);
        taken += seen->length > state->bytes && memcmp(text, tape->text + state->text, state->bytes) == 0 &&
                 continues_within(text, seen->length, state->bytes, low, high);
        at = seen->next;
    }
    return taken;
}

/* A free key can still come of what was read: `automaton` is the state of the shape's automaton, if it has one. */
static bool free_key_fits(const JsonMachine *machine, uint32_t offset, const ObjectShape *shape, uint64_t room,
                          uint32_t automaton, const JsonState *state, uint32_t bytes, uint32_t low, uint32_t high)
{
    if (shape->n_classes == 0 || room == 0) return false;
    if (shape->free_keys == NULL) return true;
    if (automaton == DFA_DEAD) return false;
    const uint32_t completions = shape->free_keys->completions[automaton];
    return completions == DFA_UNBOUNDED || completions > taken_keys(machine, offset, shape, state, bytes, low, high);
}

static uint32_t first_automaton(const ObjectShape *shape)
{
    return shape->free_keys == NULL || shape->n_classes == 0 ? DFA_DEAD : shape->free_keys->start;
}

/* The item can take a key that begins like the one in `state`, of which `bytes` bytes are read; *is_free: a free one. */
static bool key_lives(const JsonMachine *machine, const JsonState *state, const JsonItem *item, uint32_t automaton,
                      uint32_t bytes, uint32_t low, uint32_t high, bool *is_free)
{
    const ObjectShape *shape = item->shape;
    const uint64_t room = spare_room(machine, state->frame, item);
    *is_free = free_key_fits(machine, state->frame, shape, room, automaton, state, bytes, low, high);
    return *is_free || some_name_fits(machine, state->frame, shape, room, low, high);
}

bool json_can_add_key(const JsonMachine *machine, uint32_t frame)
{
    const JsonState state = {.frame = frame};
    const uint32_t n_names = (uint32_t)machine->shapes->n_names;
    for (uint32_t i = 0; i < json_frame(machine->tape, frame)->n_items; i++) {
        const JsonItem *item = &json_frame_items(machine, frame)[i];
        bool is_free = false;
        if (key_lives(machine, &state, item, first_automaton(item->shape), 0, 0, n_names, &is_free)) return true;
    }
    return false;
}

uint32_t json_open_key(const JsonMachine *machine, uint32_t state)
{
    const Tape *tape = machine->tape;
    const uint32_t frame = json_state(tape, state)->frame;
    const uint32_t n = json_frame(tape, frame)->n_items;
    const uint32_t n_names = (uint32_t)machine->shapes->n_names;
    const uint32_t next = json_new_state(machine, state, n);
    if (next == 0) return 0;
    JsonState *opened = json_state(tape, next);
    opened->mode = MODE_KEY_STRING;
    opened->escape = JSON_PLAIN;
    opened->characters = opened->bytes = 0;
    opened->names_low = 0;
    opened->names_high = n_names;
    opened->content_hash = JSON_EMPTY_TEXT_HASH;
    opened->nameless = false;
    opened->n_leaves = 0;
    for (uint32_t i = 0; i < n; i++) {
        const JsonItem *item = &json_frame_items(machine, frame)[i];
        const uint32_t automaton = first_automaton(item->shape);
        bool is_free = false;
        if (!key_lives(machine, opened, item, automaton, 0, 0, n_names, &is_free)) continue;
        json_leaves(tape, next)[opened->n_leaves++] =
            (JsonLeaf){.shape = item->shape, .target = i, .a = automaton, .b = is_free};
    }
    return opened->n_leaves == 0 ? 0 : next;
}

/* The key in `state` (its leaves as they are now) has become one of those that are all alike. */
static bool is_nameless(const JsonMachine *machine, uint32_t offset)
{
    const Tape *tape = machine->tape;
    const JsonState *state = json_state(tape, offset);
    if (state->names_low < state->names_high || tape->keys_in_tokens || json_frame(tape, state->frame)->keeps) return false;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, offset)[i];
        if (leaf->b == 0 || ((const ObjectShape *)leaf->shape)->free_keys != NULL) return false;
    }
    for (uint32_t at = json_frame(tape, state->frame)->seen; at != 0;) {
        const JsonSeen *seen = tape_at(tape, at);
        if (seen->length >= state->bytes && memcmp(json_seen_text(tape, seen), tape->text + state->text, state->bytes) == 0) return false;
        at = seen->next;
    }
    return true;
}

uint32_t json_key_character(const JsonMachine *machine, uint32_t state, uint32_t code_point)
{
    const Tape *tape = machine->tape;
    char bytes[4];
    const size_t size = utf8_put(code_point, bytes);
    const JsonState *before = json_state(tape, state);
    if (!tape_put(machine->tape, before->text + before->bytes, bytes, size)) return 0;
    const uint32_t next = json_new_state(machine, state, before->n_leaves);
    if (next == 0) return 0;
    JsonState *after = json_state(tape, next);
    for (size_t i = 0; i < size && after->names_low < after->names_high; i++) {
        json_narrow(machine->shapes->names, machine->shapes->name_lengths, &after->names_low, &after->names_high,
                    after->bytes + i, (unsigned char)bytes[i]);
    }
    json_end_character(after);
    after->characters++;
    after->bytes += (uint32_t)size;
    after->content_hash = hash_mix(after->content_hash, code_point);
    const uint32_t n = after->n_leaves;
    after->n_leaves = 0;
    for (uint32_t i = 0; i < n; i++) {
        JsonLeaf leaf = json_leaves(tape, state)[i];
        const ObjectShape *shape = leaf.shape;
        if (leaf.b != 0 && shape->free_keys == NULL) { /* a free key stays one */
            json_leaves(tape, next)[after->n_leaves++] = leaf;
            continue;
        }
        const JsonItem *item = &json_frame_items(machine, after->frame)[leaf.target];
        bool is_free = false;
        if (leaf.a != DFA_DEAD) leaf.a = dfa_step(shape->free_keys, leaf.a, code_point);
        if (!key_lives(machine, after, item, leaf.a, after->bytes, after->names_low, after->names_high, &is_free)) continue;
        leaf.b = is_free;
        json_leaves(tape, next)[after->n_leaves++] = leaf;
    }
    after->nameless = after->nameless || is_nameless(machine, next);
    return after->n_leaves == 0 ? 0 : next;
}

bool json_key_possible(const JsonMachine *machine, uint32_t offset, uint32_t low, uint32_t high)
{
    if (low == high) return json_key_character(machine, offset, low) != 0;
    const JsonState *state = json_state(machine->tape, offset);
    const JsonLeaf *leaves = json_leaves(machine->tape, offset);
    const uint32_t first = first_name_from(machine, state, low);
    const uint32_t last = first_name_from(machine, state, high + 1);
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const ObjectShape *shape = leaves[i].shape;
        const JsonItem *item = &json_frame_items(machine, state->frame)[leaves[i].target];
        const uint64_t room = spare_room(machine, state->frame, item);
        if (first < last && some_name_fits(machine, state->frame, shape, room, first, last)) return true;
        if (leaves[i].b == 0) continue;
        if (shape->free_keys == NULL) return true;
        const uint64_t completions = dfa_range_completions(shape->free_keys, leaves[i].a, low, high);
        if (completions == 0) continue;
        if (completions == UINT64_MAX || completions > taken_behind(machine, state, shape, low, high)) return true;
    }
    return false;
}

/* Bits of the names that the key can still become in some of its leaves' shapes, on the tape; NULL without memory. */
static const uint64_t *possible_names(const JsonMachine *machine, uint32_t offset)
{
    const Tape *tape = machine->tape;
    const size_t words = machine->shapes->words;
    const uint32_t room_for = tape_take(machine->tape, (words + 1) * sizeof(uint64_t));
    if (room_for == 0) return NULL;
    uint64_t *chosen = tape_at(tape, room_for);
    const JsonState *state = json_state(tape, offset);
    const uint64_t *keys = json_frame_keys(tape, state->frame);
    const bool has_twins = json_frame(tape, state->frame)->n_twins > 0;
    memset(chosen, 0, (words + 1) * sizeof *chosen);
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, offset)[i];
        const ObjectShape *shape = leaf->shape;
        const uint64_t room = spare_room(machine, state->frame, &json_frame_items(machine, state->frame)[leaf->target]);
        for (size_t w = state->names_low / 64; w * 64 < state->names_high; w++) {
            uint64_t names = shape->allowed[w] & ~keys[w] & ~chosen[w] & range_word(state->names_low, state->names_high, w);
            if (room == SHAPE_UNBOUNDED && !has_twins) chosen[w] |= names;
            for (; (room != SHAPE_UNBOUNDED || has_twins) && names != 0; names &= names - 1) {
                const uint32_t id = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(names));
                if (room != SHAPE_UNBOUNDED && !name_fits(machine, state->frame, shape, room, id)) continue;
                if (!has_twins || json_name_can_differ(machine, offset, leaf, id)) chosen[w] |= 1ULL << id % 64;
            }
        }
    }
    return chosen;
}

bool json_key_differs_among(const JsonMachine *machine, uint32_t offset, uint32_t low, uint32_t high)
{
    const size_t top = machine->tape->top;
    const uint64_t *chosen = possible_names(machine, offset);
    const JsonState *state = json_state(machine->tape, offset);
    const uint32_t first = first_name_from(machine, state, low);
    const uint32_t last = first_name_from(machine, state, high + 1);
    bool differs = false;
    for (size_t w = first / 64; chosen != NULL && w * 64 < last; w++) differs = differs || (chosen[w] & range_word(first, last, w)) != 0;
    for (uint32_t i = 0; i < state->n_leaves && !differs; i++) {
        const JsonLeaf *leaf = &json_leaves(machine->tape, offset)[i];
        const ObjectShape *shape = leaf->shape;
        differs = leaf->b != 0 && (shape->free_keys == NULL || dfa_range_completions(shape->free_keys, leaf->a, low, high) >
                                                                   taken_behind(machine, state, shape, low, high));
    }
    machine->tape->top = top;
    return differs;
}

size_t json_key_cursors(const JsonMachine *machine, uint32_t offset, StringCursor *cursors, size_t capacity)
{
    const Tape *tape = machine->tape;
    const uint64_t *chosen = possible_names(machine, offset);
    const JsonState *state = json_state(tape, offset);
    size_t n = 0;
    if (chosen == NULL || capacity < 2) return 0;
    cursors[n++] = (StringCursor){.texts = machine->shapes->names, .lengths = machine->shapes->name_lengths, .chosen = chosen,
                                  .a = state->names_low, .b = state->names_high, .bytes = state->bytes};
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, offset)[i];
        const Dfa *free_keys = ((const ObjectShape *)leaf->shape)->free_keys;
        size_t same = 1;
        if (leaf->b == 0) continue; /* no free key */
        if (free_keys == NULL) {
            cursors[0] = (StringCursor){.most = DFA_UNBOUNDED};
            return 1;
        }
        /* Few free keys, of which earlier items may have used all: the machine counts. */
        if (json_frame(tape, state->frame)->n_twins > 0 && free_keys->completions[leaf->a] != DFA_UNBOUNDED) return 0;
        while (same < n && (cursors[same].state != leaf->a || !dfa_goes_alike(cursors[same].dfa, free_keys))) same++;
        if (same < n) continue;
        if (n == capacity) return 0;
        cursors[n++] = (StringCursor){.dfa = free_keys, .state = leaf->a, .most = DFA_UNBOUNDED};
    }
    return n;
}

bool json_key_may_repeat(const JsonMachine *machine, uint32_t offset)
{
    const JsonState *state = json_state(machine->tape, offset);
    bool may = false;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(machine->tape, offset)[i];
        const Dfa *free_keys = ((const ObjectShape *)leaf->shape)->free_keys;
        if (leaf->b == 0) continue;
        if (free_keys == NULL) return false; /* endlessly many are left, whatever is there */
        may = may || free_keys->some_finite;
    }
    return may;
}

/* The goals that a finished key gives its value in one shape; NULL when the shape cannot have it. */
static const Goal *const *key_goals(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, bool named,
                                    uint32_t id)
{
    const ObjectShape *shape = leaf->shape;
    const JsonItem *item = &json_frame_items(machine, state->frame)[leaf->target];
    const uint64_t room = spare_room(machine, state->frame, item);
    if (named && !name_fits(machine, state->frame, shape, room, id)) return NULL;
    size_t low = 0;
    size_t high = named ? shape->n_names : 0;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (shape->names[middle].id < id) low = middle + 1;
        else high = middle;
    }
    if (named && low < shape->n_names && shape->names[low].id == id) return shape->names[low].goals;
    if (shape->n_classes == 0 || (!named && room == 0)) return NULL;
    uint32_t label = 1;
    if (shape->free_keys != NULL) label = shape->free_keys->label[leaf->a];
    return label == 0 ? NULL : shape->class_goals + ((size_t)(label - 1) << shape->n_exists);
}

/* Adds, for each set of EXISTS demands that this key may meet, the possibility to the new frame. */
static uint32_t add_possibilities(const JsonMachine *machine, uint32_t next, const JsonItem *item,
                                  const Goal *const *goals, JsonItem *out)
{
    const ObjectShape *shape = item->shape;
    uint32_t n = 0;
    for (uint32_t subset = 0; subset < 1U << shape->n_exists; subset++) {
        if ((subset & item->exists) != 0 || goals[subset] == NULL) continue;
        out[n] = *item;
        out[n].exists |= subset;
        out[n++].child = json_join_goal(machine, next, goals[subset], false);
    }
    return n;
}

/* The free key that was read, kept; 0 when the object has it already. */
static uint32_t free_key(const JsonMachine *machine, uint32_t offset)
{
    const Tape *tape = machine->tape;
    const uint32_t text = json_keep_text(machine, offset);
    const uint32_t node = text == 0 ? 0 : tape_take(machine->tape, sizeof(JsonSeen));
    if (node == 0) return 0;
    const JsonState *state = json_state(tape, offset);
    JsonSeen *key = tape_at(tape, node);
    *key = (JsonSeen){.next = json_frame(tape, state->frame)->seen,
                      .type = JSON_VALUE_STRING,
                      .start = text,
                      .length = state->bytes,
                      .hash = state->content_hash};
    return json_was_seen(machine, state->frame, key) ? 0 : node;
}

uint32_t json_close_key(const JsonMachine *machine, uint32_t offset)
{
    const Tape *tape = machine->tape;
    const JsonState *state = json_state(tape, offset);
    const uint32_t id = state->names_low;
    const bool named = id < state->names_high && machine->shapes->name_lengths[id] == state->bytes;
    const uint32_t from = state->frame;
    uint32_t room = 0;
    for (uint32_t i = 0; i < state->n_leaves; i++)
        room += 1U << ((const ObjectShape *)json_leaves(tape, offset)[i].shape)->n_exists;
    const uint32_t node = named ? 0 : free_key(machine, offset);
    const uint32_t frame = !named && node == 0 ? 0 : json_new_frame(machine, true, room);
    const uint32_t next = frame == 0 ? 0 : json_new_state(machine, offset, room);
    if (next == 0) return 0;
    state = json_state(tape, offset);
    memcpy(json_frame(tape, frame), json_frame(tape, from), sizeof(JsonFrame) + machine->shapes->words * sizeof(uint64_t));
    json_state(tape, next)->n_leaves = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, offset)[i];
        const Goal *const *goals = key_goals(machine, state, leaf, named, id);
        const JsonItem *item = &json_frame_items(machine, from)[leaf->target];
        if (goals != NULL) n += add_possibilities(machine, next, item, goals, json_frame_items(machine, frame) + n);
    }
    if (n == 0) return 0;
    JsonFrame *opened = json_frame(tape, frame);
    JsonState *behind = json_state(tape, next);
    opened->n_items = n;
    opened->n_targets = behind->n_leaves;
    opened->count++;
    opened->key_hash = state->content_hash;
    opened->key_id = named ? id + 1 : 0;
    if (named) {
        json_frame_keys(tape, frame)[id / 64] |= 1ULL << id % 64;
    } else {
        opened->seen = node;
        opened->seen_hash += hash_mix(state->content_hash, state->bytes);
        if (!json_index_add(machine, frame, node)) return 0;
        behind = json_state(tape, next);
    }
    json_seal_frame(machine, frame);
    behind->frame = frame;
    behind->text += behind->bytes;
    behind->mode = MODE_COLON;
    behind->space = 0;
    return next;
}
