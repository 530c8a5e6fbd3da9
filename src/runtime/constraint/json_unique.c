/*
 * json_unique.c - arrays whose items must differ, when the items are arrays and objects.
 *
 * What is read inside such an array is kept as a tree of values with hashes. While a container is read, its twins are the values seen
 * earlier (or the parts of them at the same place) that agree with all it holds so far. Once none is left anything may follow. Until
 * then a state lives only if more values can still come of it than it has twins: counting them needs no search, and where few can
 * come, twins that this shape does not allow are left out of the count.
 *
 * Counts are lower bounds: a state that is kept can always be finished.
 */
#include "runtime/constraint/json_state.h"

#include <string.h>

static uint64_t value_hash(const JsonSeen *seen) { return hash_mix(seen->hash, (uint64_t)seen->type + 1); }

static bool same_value(const JsonSeen *a, const JsonSeen *b)
{
    return a->type == b->type && a->length == b->length && a->hash == b->hash;
}

/* The part of a container under a key or at an index; NULL when it has none. */
static const JsonSeen *part_of(const Tape *tape, const JsonSeen *container, uint64_t key)
{
    for (uint32_t at = container->children; at != 0;) {
        const JsonSeen *part = tape_at(tape, at);
        if (part->key_hash == key) return part;
        at = part->next;
    }
    return NULL;
}

/* The key or index of the value being read, or read last. */
static uint64_t current_key(const JsonFrame *frame) { return frame->is_object ? frame->key_hash : frame->n_children; }

const JsonSeen *json_twin_part(const JsonMachine *machine, const JsonFrame *frame, uint32_t *twin, bool *there)
{
    const JsonTwin *at = tape_at(machine->tape, *twin);
    const JsonSeen *part = part_of(machine->tape, tape_at(machine->tape, at->seen), current_key(frame));
    *twin = at->next;
    *there = part != NULL;
    return part;
}

static bool add_twin(const JsonMachine *machine, uint32_t frame, uint32_t seen)
{
    const uint32_t offset = tape_take(machine->tape, sizeof(JsonTwin));
    if (offset == 0) return false;
    *(JsonTwin *)tape_at(machine->tape, offset) = (JsonTwin){json_frame(machine->tape, frame)->twins, seen};
    json_frame(machine->tape, frame)->twins = offset;
    json_frame(machine->tape, frame)->n_twins++;
    return true;
}

static uint32_t offset_of(const Tape *tape, const void *record) { return (uint32_t)((const uint8_t *)record - tape->memory); }

bool json_find_twins(const JsonMachine *machine, uint32_t frame, uint32_t parent)
{
    const Tape *tape = machine->tape;
    const JsonType type = json_frame(tape, frame)->is_object ? JSON_VALUE_OBJECT : JSON_VALUE_ARRAY;
    const bool is_item = !json_frame(tape, parent)->is_object && json_frame(tape, parent)->seen != 0;
    json_frame(tape, frame)->twins_depth = is_item ? json_frame(tape, parent)->depth : json_frame(tape, parent)->twins_depth;
    for (uint32_t at = is_item ? json_frame(tape, parent)->seen : 0; at != 0; at = ((JsonSeen *)tape_at(tape, at))->next) {
        if (((const JsonSeen *)tape_at(tape, at))->type == type && !add_twin(machine, frame, at)) return false;
    }
    for (uint32_t twin = is_item ? 0 : json_frame(tape, parent)->twins; twin != 0;) {
        bool there = false;
        const JsonSeen *part = json_twin_part(machine, json_frame(tape, parent), &twin, &there);
        if (there && part->type == type && !add_twin(machine, frame, offset_of(tape, part))) return false;
    }
    return true;
}

bool json_record(const JsonMachine *machine, uint32_t offset, const JsonSeen *seen)
{
    const Tape *tape = machine->tape;
    const uint32_t node = tape_take(machine->tape, sizeof *seen);
    if (node == 0) return false;
    JsonFrame *frame = json_frame(tape, offset);
    JsonSeen *kept = tape_at(tape, node);
    *kept = *seen;
    kept->next = frame->children;
    kept->key_hash = current_key(frame);
    kept->key_id = frame->is_object ? frame->key_id : 0;
    const uint64_t own = hash_mix(value_hash(seen), kept->key_hash);
    uint32_t twin = frame->twins;
    frame->children_hash += own;
    frame->twins = frame->n_twins = 0;
    while (twin != 0) {
        const JsonTwin at = *(const JsonTwin *)tape_at(tape, twin);
        const JsonSeen *part = part_of(tape, tape_at(tape, at.seen), current_key(json_frame(tape, offset)));
        twin = at.next;
        if (part != NULL && same_value(part, seen) && !add_twin(machine, offset, at.seen)) return false;
    }
    frame = json_frame(tape, offset);
    frame->children = node;
    frame->n_children++;
    return true;
}

/*
 * Whether a twin is a value of a shape at all, as far as that is easy to see.
 */
static bool object_takes(const Tape *tape, const ObjectShape *shape, const JsonSeen *value)
{
    if (value->length < shape->min_properties || value->length > shape->max_properties) return false;
    size_t required = 0;
    for (uint32_t at = value->children; at != 0;) {
        const JsonSeen *part = tape_at(tape, at);
        at = part->next;
        if (part->key_id == 0) {
            if (shape->n_classes == 0) return false;
            continue;
        }
        const uint32_t id = part->key_id - 1;
        if ((shape->allowed[id / 64] >> id % 64 & 1) == 0) return false;
        required += (shape->required[id / 64] >> id % 64 & 1) != 0;
        for (size_t i = 0; i < shape->n_names; i++) {
            if (shape->names[i].id == id && !json_goal_takes(tape, shape->names[i].goals[0], part)) return false;
        }
    }
    size_t wanted = 0;
    for (size_t i = 0; i < shape->n_names; i++) wanted += (shape->required[shape->names[i].id / 64] >> shape->names[i].id % 64 & 1) != 0;
    return required == wanted;
}

static bool array_takes(const Tape *tape, const ArrayShape *shape, const JsonSeen *value)
{
    if (value->length < shape->min_items || value->length > shape->max_items) return false;
    if (shape->n_contains > 0) return true;
    for (uint32_t at = value->children; at != 0;) {
        const JsonSeen *part = tape_at(tape, at);
        at = part->next;
        const size_t position = part->key_hash < shape->n_positions ? (size_t)part->key_hash : shape->n_positions;
        if (!json_goal_takes(tape, shape->goals[position], part)) return false;
    }
    return true;
}

static bool number_takes(const NumberShape *shape, Decimal value)
{
    const Decimal only[1] = {value};
    NumberShape one = *shape;
    if (shape->listed) {
        for (size_t i = 0; i < shape->n_allowed; i++) {
            if (decimal_compare(shape->allowed[i], value) == 0) return true;
        }
        return false;
    }
    one.allowed = only;
    one.integers = NULL;
    one.n_allowed = 1;
    one.listed = true;
    if (shape->low.present && decimal_compare(value, shape->low.value) < 0) return false;
    if (shape->high.present && decimal_compare(value, shape->high.value) > 0) return false;
    return number_live(&one, &(NumberText){0});
}

bool json_goal_takes(const Tape *tape, const Goal *goal, const JsonSeen *value)
{
    bool takes = false;
    if (goal == NULL) return false;
    switch (value->type) {
    case JSON_VALUE_NULL: return goal->null_allowed;
    case JSON_VALUE_FALSE: return goal->false_allowed;
    case JSON_VALUE_TRUE: return goal->true_allowed;
    case JSON_VALUE_STRING: return goal_accepts_string(goal, json_seen_text(tape, value), value->length);
    case JSON_VALUE_NUMBER:
        for (size_t i = 0; i < goal->n_numbers; i++) takes = takes || number_takes(goal->numbers[i], value->number);
        return takes;
    case JSON_VALUE_ARRAY:
        for (size_t i = 0; i < goal->n_arrays; i++) takes = takes || array_takes(tape, goal->arrays[i], value);
        return takes;
    case JSON_VALUE_OBJECT:
        for (size_t i = 0; i < goal->n_objects; i++) takes = takes || object_takes(tape, goal->objects[i], value);
        return takes;
    }
    return true;
}

/*
 * Counting.
 */
static bool has_bit(const uint64_t *bits, uint32_t id) { return (bits[id / 64] >> id % 64 & 1) != 0; }

/* Ways to finish an object from what it holds, `without` (a name, or SIZE_MAX) being read already; *may_end: as it is, too. */
static uint32_t object_ways(const JsonMachine *machine, uint32_t offset, const ObjectShape *shape, size_t without, bool *may_end)
{
    const JsonFrame *frame = json_frame(machine->tape, offset);
    const uint64_t *keys = json_frame_keys(machine->tape, offset);
    uint64_t room = shape->max_properties == SHAPE_UNBOUNDED ? SHAPE_UNBOUNDED : shape->max_properties - frame->count;
    uint32_t ways = 1;
    if (without != SIZE_MAX && room != SHAPE_UNBOUNDED && room > 0) room--;
    *may_end = frame->count >= shape->min_properties && shape->n_exists == 0;
    for (size_t i = 0; i < shape->n_names; i++) {
        const uint32_t id = shape->names[i].id;
        if (!has_bit(shape->required, id) || has_bit(keys, id) || i == without) continue;
        ways = count_product(ways, shape->names[i].goals[0]->n_values);
        room -= room != SHAPE_UNBOUNDED;
        *may_end = false;
    }
    const bool open = room == SHAPE_UNBOUNDED || (room > 0 && room <= shape->max_properties);
    for (size_t i = 0; i < shape->n_names && open; i++) {
        const uint32_t id = shape->names[i].id;
        if (has_bit(shape->required, id) || has_bit(keys, id) || i == without || !has_bit(shape->allowed, id)) continue;
        if (shape->n_dependents > 0 || shape->names[i].goals[0] == NULL) continue;
        const uint32_t more = count_sum(shape->names[i].goals[0]->n_values, 1);
        /* One key at a time is a lower bound where there is not room for all. */
        if (room == SHAPE_UNBOUNDED || room > shape->n_names) ways = count_product(ways, more);
        else if (more > ways) ways = more;
    }
    if (shape->n_classes == 0 || !open) return ways;
    const uint32_t keys_left = shape->free_keys == NULL ? DFA_UNBOUNDED : shape->free_keys->completions[shape->free_keys->start];
    if (keys_left == DFA_UNBOUNDED) return DFA_UNBOUNDED;
    return keys_left > frame->count && keys_left - frame->count > ways ? keys_left - (uint32_t)frame->count : ways;
}

static uint32_t ways_behind(const JsonMachine *machine, uint32_t offset, const JsonItem *item, bool inside)
{
    bool may_end = false;
    const JsonFrame *frame = json_frame(machine->tape, offset);
    if (frame->is_object) return object_ways(machine, offset, item->shape, SIZE_MAX, &may_end);
    return array_ways(item->shape, frame->count + inside);
}

static bool takes(const Tape *tape, const JsonFrame *frame, const JsonItem *item, const JsonSeen *value)
{
    return frame->is_object ? object_takes(tape, item->shape, value) : array_takes(tape, item->shape, value);
}

/* Twins of the frame that are values of the item's shape and have more (or any number of) values than now. */
static uint32_t twins_of(const JsonMachine *machine, const JsonFrame *frame, const JsonItem *item, bool more)
{
    uint32_t n = 0;
    for (uint32_t at = frame->twins; at != 0;) {
        const JsonTwin *twin = tape_at(machine->tape, at);
        const JsonSeen *value = tape_at(machine->tape, twin->seen);
        at = twin->next;
        n += (!more || value->length > frame->n_children) && takes(machine->tape, frame, item, value);
    }
    return n;
}

/* Some possibility of the containers around, up to the array at `depth` whose items must differ, has `ways` times the ways to finish
 * of its own, which is more than `n` twins. */
static bool outlives(const JsonMachine *machine, uint32_t offset, uint32_t depth, uint32_t target, uint32_t ways, uint32_t n)
{
    const JsonFrame *frame = json_frame(machine->tape, offset);
    const JsonItem *items = json_frame_items(machine, offset);
    if (ways > n) return true;
    for (uint32_t i = 0; i < frame->n_items; i++) {
        if (items[i].child != target) continue;
        if (frame->depth == depth) {
            /* Its items must differ, unless this possibility does not ask for it. */
            if (((const ArrayShape *)items[i].shape)->unique == NULL) return true;
            continue;
        }
        const uint32_t more = count_product(ways, ways_behind(machine, offset, &items[i], true));
        if (outlives(machine, frame->parent, depth, items[i].target, more, n)) return true;
    }
    return false;
}

/* The frame's own values are all read that come before its end or its next value. */
static bool lives_between(const JsonMachine *machine, const JsonState *state, bool must_go_on)
{
    const uint32_t offset = state->frame;
    const JsonFrame *frame = json_frame(machine->tape, offset);
    for (uint32_t i = 0; i < frame->n_items; i++) {
        const JsonItem *item = &json_frame_items(machine, offset)[i];
        bool may_end = true;
        uint32_t ways = 0;
        if (frame->is_object) ways = object_ways(machine, offset, item->shape, SIZE_MAX, &may_end);
        else ways = array_ways(item->shape, frame->count);
        if (must_go_on && may_end && ways < DFA_UNBOUNDED) ways--;
        const uint32_t n = ways > frame->n_twins ? frame->n_twins : twins_of(machine, frame, item, must_go_on);
        if (outlives(machine, frame->parent, frame->twins_depth, item->target, ways, n)) return true;
    }
    return false;
}

/* With the shape's name number i as the next key, the object can still become another one than its twins. */
static bool name_lives(const JsonMachine *machine, const JsonState *state, const JsonItem *item, size_t i)
{
    const JsonFrame *frame = json_frame(machine->tape, state->frame);
    const ObjectShape *shape = item->shape;
    bool may_end = false;
    const uint32_t ways = count_product(shape->names[i].goals[0]->n_values,
                                        object_ways(machine, state->frame, shape, i, &may_end));
    uint32_t n = 0;
    if (ways > frame->n_twins) return true;
    for (uint32_t at = frame->twins; at != 0;) {
        const JsonTwin *twin = tape_at(machine->tape, at);
        const JsonSeen *value = tape_at(machine->tape, twin->seen);
        bool has = false;
        for (uint32_t child = value->children; child != 0 && !has;) {
            const JsonSeen *part = tape_at(machine->tape, child);
            has = part->key_id == shape->names[i].id + 1;
            child = part->next;
        }
        at = twin->next;
        n += has && takes(machine->tape, frame, item, value);
    }
    return outlives(machine, frame->parent, frame->twins_depth, item->target, ways, n);
}

/* A key is being read. */
static bool lives_in_key(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf)
{
    const JsonFrame *frame = json_frame(machine->tape, state->frame);
    const JsonItem *item = &json_frame_items(machine, state->frame)[leaf->target];
    const ObjectShape *shape = leaf->shape;
    const uint64_t *keys = json_frame_keys(machine->tape, state->frame);
    if (leaf->b != 0 && (shape->free_keys == NULL || shape->free_keys->completions[leaf->a] > frame->n_twins)) return true;
    for (size_t i = 0; i < shape->n_names; i++) {
        const uint32_t id = shape->names[i].id;
        if (id < state->names_low || id >= state->names_high || has_bit(keys, id) || shape->names[i].goals[0] == NULL) continue;
        if (name_lives(machine, state, item, i)) return true;
    }
    /* A free key of few: it is left to the count of keys. */
    return leaf->b != 0 && shape->n_names == 0;
}

bool json_name_can_differ(const JsonMachine *machine, uint32_t offset, const JsonLeaf *leaf, uint32_t id)
{
    const JsonState *state = json_state(machine->tape, offset);
    const JsonItem *item = &json_frame_items(machine, state->frame)[leaf->target];
    const ObjectShape *shape = leaf->shape;
    for (size_t i = 0; i < shape->n_names; i++) {
        if (shape->names[i].id == id) return shape->names[i].goals[0] != NULL && name_lives(machine, state, item, i);
    }
    return true; /* a free key */
}

/* The scalar being read cannot become the value: seen at a glance. */
static bool is_unlike(const Tape *tape, const JsonState *state, const JsonSeen *value)
{
    if (state->mode == MODE_LITERAL) return value->type != (JsonType)state->literal;
    if (state->mode == MODE_NUMBER) return value->type != JSON_VALUE_NUMBER || !number_resembles(&state->number, value->number);
    if (state->mode != MODE_STRING) return false;
    return value->type != JSON_VALUE_STRING || value->length < state->bytes ||
           memcmp(json_seen_text(tape, value), tape->text + state->text, state->bytes) != 0;
}

/* The values at this place in the twins, but for those that a scalar begins unlike, each once a twin, on the tape as long as nothing else
 * is put there; NULL without memory. */
static const JsonSeen *const *gather_others(const JsonMachine *machine, uint32_t offset, size_t *n)
{
    const Tape *tape = machine->tape;
    const uint32_t place = tape_take(machine->tape, json_frame(tape, json_state(tape, offset)->frame)->n_twins * sizeof(JsonSeen *));
    if (place == 0) return NULL;
    const JsonState *state = json_state(tape, offset);
    const JsonFrame *frame = json_frame(tape, state->frame);
    const JsonSeen **others = tape_at(tape, place);
    *n = 0;
    for (uint32_t twin = frame->twins; twin != 0;) {
        bool there = false;
        const JsonSeen *part = json_twin_part(machine, frame, &twin, &there);
        if (there && !is_unlike(tape, state, part)) others[(*n)++] = part;
    }
    return others;
}

/* Values that the scalar being read can still become equal to. */
static uint32_t count_alike(const JsonMachine *machine, const JsonState *state, const JsonSeen *const *others, size_t n)
{
    const Tape *tape = machine->tape;
    uint32_t alike = 0;
    for (size_t i = 0; i < n; i++) {
        const JsonSeen *other = others[i];
        const Decimal only[1] = {other->number};
        const NumberShape one = {.allowed = only, .n_allowed = 1, .listed = true};
        if (state->mode == MODE_STRING)
            alike += other->type == JSON_VALUE_STRING && other->length >= state->bytes &&
                     memcmp(json_seen_text(tape, other), tape->text + state->text, state->bytes) == 0;
        else if (state->mode == MODE_LITERAL) alike += other->type == (JsonType)state->literal;
        else if (state->mode == MODE_NUMBER) alike += other->type == JSON_VALUE_NUMBER && number_live(&one, &state->number);
        else alike++;
    }
    return alike;
}

/* Values that the scalar can become, or that the goal has, at least. */
static uint32_t ways_of(const JsonState *state, const JsonLeaf *leaf)
{
    if (state->mode == MODE_STRING) return json_string_ways(state, leaf);
    if (state->mode == MODE_NUMBER) return number_ways(leaf->shape, &state->number);
    return state->mode == MODE_LITERAL ? 1 : ((const Goal *)leaf->shape)->n_values;
}

/* There are more ways to go on than twins, whatever those are. */
static bool surely_lives(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf)
{
    const JsonFrame *frame = json_frame(machine->tape, state->frame);
    const uint64_t n = frame->n_twins + (leaf->unique ? frame->count : 0);
    if (state->mode == MODE_NUMBER && number_has_more(leaf->shape, &state->number, n)) return true;
    const uint32_t ways = state->mode == MODE_NUMBER ? 1 : ways_of(state, leaf);
    if (ways > n) return true;
    for (uint32_t i = 0; i < frame->n_items; i++) {
        const JsonItem *item = &json_frame_items(machine, state->frame)[i];
        if (item->child == leaf->target && count_product(ways, ways_behind(machine, state->frame, item, true)) > n) return true;
    }
    return false;
}

/* A scalar is being read, or any value of a goal is to come, and these are the values that it should differ from. */
static bool lives_beside(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, const JsonSeen *const *others,
                         size_t n)
{
    const JsonFrame *frame = json_frame(machine->tape, state->frame);
    const uint32_t ways = ways_of(state, leaf);
    if (n == 0) return true;
    if (state->mode == MODE_STRING && json_string_avoids(machine, state, leaf, others, n)) return true;
    if (state->mode == MODE_NUMBER && json_number_avoids(machine, state, leaf, others, n)) return true;
    const uint32_t alike = count_alike(machine, state, others, n);
    if (alike == 0) return true;
    for (uint32_t i = 0; i < frame->n_items; i++) {
        const JsonItem *item = &json_frame_items(machine, state->frame)[i];
        if (item->child != leaf->target) continue;
        const uint32_t more = count_product(ways, ways_behind(machine, state->frame, item, true));
        uint32_t twins = more > alike ? alike : twins_of(machine, frame, item, false);
        if (twins > alike) twins = alike;
        if (outlives(machine, frame->parent, frame->twins_depth, item->target, more, twins)) return true;
    }
    return false;
}

static bool lives_in_value(const JsonMachine *machine, uint32_t offset)
{
    const size_t top = machine->tape->top;
    const JsonState *state = json_state(machine->tape, offset);
    size_t n = 0;
    bool lives = false;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        if (surely_lives(machine, state, &json_leaves(machine->tape, offset)[i])) return true;
    }
    const JsonSeen *const *others = gather_others(machine, offset, &n);
    state = json_state(machine->tape, offset);
    for (uint32_t i = 0; others != NULL && !lives && i < state->n_leaves; i++)
        lives = lives_beside(machine, state, &json_leaves(machine->tape, offset)[i], others, n);
    machine->tape->top = top;
    return lives;
}

bool json_can_differ(const JsonMachine *machine, uint32_t offset)
{
    const JsonState *state = json_state(machine->tape, offset);
    const JsonLeaf *leaves = json_leaves(machine->tape, offset);
    if (state->mode == MODE_AFTER || state->mode == MODE_FIRST_KEY || state->mode == MODE_FIRST_ITEM)
        return lives_between(machine, state, false);
    if (state->mode == MODE_KEY) return lives_between(machine, state, true);
    if (state->mode != MODE_KEY_STRING) return lives_in_value(machine, offset);
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        if (lives_in_key(machine, state, &leaves[i])) return true;
    }
    return false;
}
