/*
 * json_frame.c - containers: opening them, what each of their possible shapes makes of an item or key, and closing them.
 */
#include "runtime/constraint/json_state.h"

#include <string.h>

uint32_t json_new_frame(const JsonMachine *machine, bool is_object, uint32_t n_items)
{
    const size_t keys = is_object ? machine->shapes->words * sizeof(uint64_t) : 0;
    const uint32_t offset = tape_take(machine->tape, sizeof(JsonFrame) + keys + n_items * sizeof(JsonItem));
    if (offset == 0) return 0;
    JsonFrame *frame = json_frame(machine->tape, offset);
    memset(frame, 0, sizeof *frame + keys);
    frame->is_object = is_object;
    frame->n_items = n_items;
    return offset;
}

/* A count beyond which all counts are alike for these shapes. */
static uint64_t telling_count(const JsonFrame *frame, const JsonItem *items)
{
    uint64_t telling = 0;
    for (uint32_t i = 0; i < frame->n_items; i++) {
        uint64_t enough = 0;
        if (frame->is_object) {
            const ObjectShape *shape = items[i].shape;
            enough = shape->max_properties != SHAPE_UNBOUNDED ? shape->max_properties : shape->min_properties;
        } else {
            const ArrayShape *shape = items[i].shape;
            enough = shape->max_items != SHAPE_UNBOUNDED ? shape->max_items : shape->min_items;
            if (shape->n_positions > enough) enough = shape->n_positions;
        }
        if (enough > telling) telling = enough;
    }
    return frame->count < telling ? frame->count : telling;
}

void json_seal_frame(const JsonMachine *machine, uint32_t offset)
{
    JsonFrame *frame = json_frame(machine->tape, offset);
    const JsonItem *items = json_frame_items(machine, offset);
    uint64_t hash = frame->parent == 0 ? 2 : json_frame(machine->tape, frame->parent)->hash;
    hash = hash_mix(hash, (uint64_t)frame->is_object | (uint64_t)frame->recorded << 1 | (uint64_t)frame->keeps << 2 |
                              (uint64_t)frame->n_items << 32);
    hash = hash_mix(hash, telling_count(frame, items));
    hash = hash_mix(hash, frame->seen_hash);
    if (frame->recorded) hash = hash_mix(hash_mix(hash, frame->children_hash), frame->key_hash);
    const uint64_t *keys = json_frame_keys(machine->tape, offset);
    for (size_t w = 0; frame->is_object && w < machine->shapes->words; w++) hash = hash_mix(hash, keys[w]);
    for (uint32_t i = 0; i < frame->n_items; i++) {
        hash = hash_mix(hash, json_shape_id(items[i].shape));
        hash = hash_mix(hash, (uint64_t)items[i].target | (uint64_t)items[i].child << 32);
        hash = hash_mix(hash, (uint64_t)items[i].counts[0] | (uint64_t)items[i].counts[1] << 32);
        hash = hash_mix(hash, (uint64_t)items[i].counts[2] | (uint64_t)items[i].exists << 32);
    }
    frame->hash = hash;
}

/* A new frame with the header and keys of `from` and room for n_items. */
static uint32_t copy_frame(const JsonMachine *machine, uint32_t from, uint32_t n_items)
{
    const bool is_object = json_frame(machine->tape, from)->is_object;
    const uint32_t offset = json_new_frame(machine, is_object, n_items);
    if (offset == 0) return 0;
    const size_t keys = is_object ? machine->shapes->words * sizeof(uint64_t) : 0;
    memcpy(tape_at(machine->tape, offset), tape_at(machine->tape, from), sizeof(JsonFrame) + keys);
    json_frame(machine->tape, offset)->n_items = n_items;
    return offset;
}

static bool any_unique(const JsonMachine *machine, uint32_t offset)
{
    const JsonFrame *frame = json_frame(machine->tape, offset);
    const JsonItem *items = json_frame_items(machine, offset);
    for (uint32_t i = 0; i < frame->n_items && !frame->is_object; i++) {
        if (((const ArrayShape *)items[i].shape)->unique != NULL) return true;
    }
    return false;
}

uint32_t json_open_container(const JsonMachine *machine, uint32_t state, bool is_object)
{
    const Tape *tape = machine->tape;
    uint32_t n = 0;
    for (uint32_t i = 0; i < json_state(tape, state)->n_leaves; i++) {
        const Goal *goal = json_leaves(tape, state)[i].shape;
        n += (uint32_t)(is_object ? goal->n_objects : goal->n_arrays);
    }
    if (n == 0) return 0;
    const uint32_t frame = json_new_frame(machine, is_object, n);
    const uint32_t next = frame == 0 ? 0 : json_new_state(machine, state, 0);
    if (next == 0) return 0;
    JsonItem *items = json_frame_items(machine, frame);
    n = 0;
    for (uint32_t i = 0; i < json_state(tape, state)->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, state)[i];
        const Goal *goal = leaf->shape;
        const size_t count = is_object ? goal->n_objects : goal->n_arrays;
        for (size_t k = 0; k < count; k++) {
            const void *shape = is_object ? (const void *)goal->objects[k] : (const void *)goal->arrays[k];
            items[n++] = (JsonItem){.shape = shape, .target = leaf->target};
        }
    }
    JsonFrame *opened = json_frame(tape, frame);
    JsonState *inside = json_state(tape, next);
    opened->parent = inside->frame;
    opened->depth = inside->frame == 0 ? 1 : json_frame(tape, inside->frame)->depth + 1;
    opened->recorded = inside->frame != 0 && json_frame(tape, inside->frame)->keeps;
    opened->keeps = opened->recorded || any_unique(machine, frame);
    if (opened->recorded && !json_find_twins(machine, frame, inside->frame)) return 0;
    inside = json_state(tape, next);
    json_seal_frame(machine, frame);
    inside->frame = frame;
    inside->mode = is_object ? MODE_FIRST_KEY : MODE_FIRST_ITEM;
    inside->space = 0;
    return next;
}

static bool array_complete(const JsonFrame *frame, const JsonItem *item)
{
    const ArrayShape *shape = item->shape;
    if (frame->count < shape->min_items || frame->count > shape->max_items) return false;
    for (size_t k = 0; k < shape->n_contains; k++) {
        if (item->counts[k] < shape->contains[k].min || item->counts[k] > shape->contains[k].max) return false;
    }
    return true;
}

static bool *new_flags(const JsonMachine *machine, uint32_t n)
{
    const uint32_t offset = tape_take(machine->tape, n + 1);
    if (offset == 0) return NULL;
    memset(tape_at(machine->tape, offset), 0, n + 1);
    return tape_at(machine->tape, offset);
}

uint32_t json_close_container(const JsonMachine *machine, uint32_t state)
{
    const Tape *tape = machine->tape;
    const uint32_t offset = json_state(tape, state)->frame;
    const uint32_t parent = json_frame(tape, offset)->parent;
    const uint32_t n_targets = parent == 0 ? 1 : json_frame(tape, parent)->n_targets;
    const uint32_t outside = json_new_state(machine, state, 0);
    bool *accepted = outside == 0 ? NULL : new_flags(machine, n_targets);
    if (accepted == NULL) return 0;
    const JsonFrame *frame = json_frame(tape, offset);
    const JsonItem *items = json_frame_items(machine, offset);
    bool any = false;
    for (uint32_t i = 0; i < frame->n_items; i++) {
        const bool complete =
            frame->is_object ? json_keys_complete(machine, offset, &items[i]) : array_complete(frame, &items[i]);
        if (!complete) continue;
        accepted[items[i].target] = true;
        any = true;
    }
    if (!any) return 0;
    json_state(tape, outside)->frame = parent;
    if (!frame->recorded) return json_finish_value(machine, outside, accepted, NULL);
    const JsonSeen seen = {.type = frame->is_object ? JSON_VALUE_OBJECT : JSON_VALUE_ARRAY,
                           .length = frame->n_children,
                           .children = frame->children,
                           .hash = hash_mix(frame->children_hash, frame->is_object)};
    return json_finish_value(machine, outside, accepted, &seen);
}

/* Remembers an item of an array whose items must differ. */
static bool remember(const JsonMachine *machine, uint32_t frame, const JsonSeen *seen)
{
    const uint32_t node = tape_take(machine->tape, sizeof *seen);
    if (node == 0) return false;
    JsonSeen *kept = tape_at(machine->tape, node);
    *kept = *seen;
    kept->next = json_frame(machine->tape, frame)->seen;
    json_frame(machine->tape, frame)->seen = node;
    json_frame(machine->tape, frame)->seen_hash += hash_mix(seen->hash, (uint64_t)seen->type + 1);
    return json_index_add(machine, frame, node);
}

/* Of two possibilities for one array shape, the one that counted more of what has no maximum can do all the other can. */
static bool at_least(const JsonItem *a, const JsonItem *b, bool is_object)
{
    if (a->shape != b->shape || a->target != b->target) return false;
    if (is_object) return (b->exists & ~a->exists) == 0;
    const ArrayShape *shape = a->shape;
    for (size_t k = 0; k < shape->n_contains; k++) {
        const bool unbounded = shape->contains[k].max == SHAPE_UNBOUNDED;
        if (unbounded ? a->counts[k] < b->counts[k] : a->counts[k] != b->counts[k]) return false;
    }
    return true;
}

static uint32_t drop_dominated(JsonItem *items, uint32_t n, bool is_object)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool dominated = false;
        for (uint32_t k = 0; k < kept && !dominated; k++) dominated = at_least(&items[k], &items[i], is_object);
        if (dominated) continue;
        uint32_t rest = 0;
        for (uint32_t k = 0; k < kept; k++) {
            if (!at_least(&items[i], &items[k], is_object)) items[rest++] = items[k];
        }
        items[rest++] = items[i];
        kept = rest;
    }
    return kept;
}

uint32_t json_finish_value(const JsonMachine *machine, uint32_t state, const bool *accepted, const JsonSeen *seen)
{
    const Tape *tape = machine->tape;
    const uint32_t from = json_state(tape, state)->frame;
    const ptrdiff_t flags = (const uint8_t *)accepted - tape->memory; /* accepted lies on the tape, which may move */
    const uint32_t next = json_new_state(machine, state, 0);
    if (next == 0) return 0;
    json_state(tape, next)->space = 0;
    json_state(tape, next)->escape = JSON_PLAIN;
    json_state(tape, next)->mode = from == 0 ? MODE_END : MODE_AFTER;
    if (from == 0) return next;
    const uint32_t n_before = json_frame(tape, from)->n_items;
    const uint32_t frame = copy_frame(machine, from, n_before);
    if (frame == 0) return 0;
    accepted = (const bool *)(tape->memory + flags);
    const bool repeated = seen != NULL && any_unique(machine, from) && json_was_seen(machine, from, seen);
    const JsonItem *before = json_frame_items(machine, from);
    JsonItem *items = json_frame_items(machine, frame);
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_before; i++) {
        if (!accepted[before[i].child]) continue;
        if (repeated && ((const ArrayShape *)before[i].shape)->unique != NULL) continue;
        items[n] = before[i];
        items[n++].child = 0;
    }
    if (n == 0) return 0;
    const bool is_object = json_frame(tape, frame)->is_object;
    json_frame(tape, frame)->n_items = drop_dominated(items, n, is_object);
    json_frame(tape, frame)->n_targets = 0;
    if (!is_object) json_frame(tape, frame)->count++;
    if (seen != NULL) {
        if (any_unique(machine, frame) && !remember(machine, frame, seen)) return 0;
        if (json_frame(tape, frame)->recorded && !json_record(machine, frame, seen)) return 0;
        if (seen->type == JSON_VALUE_STRING) json_state(tape, next)->text += seen->length;
    }
    json_seal_frame(machine, frame);
    json_state(tape, next)->frame = frame;
    return next;
}

uint32_t json_join_goal(const JsonMachine *machine, uint32_t offset, const Goal *goal, bool unique)
{
    JsonState *state = json_state(machine->tape, offset);
    JsonLeaf *leaves = json_leaves(machine->tape, offset);
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        if (leaves[i].shape == goal && leaves[i].unique == unique) return i;
    }
    leaves[state->n_leaves] = (JsonLeaf){.shape = goal, .target = state->n_leaves, .unique = unique};
    return state->n_leaves++;
}

/* One possibility of an array takes an item that counts for the demands in `subset`. */
static bool take_item(const JsonMachine *machine, uint32_t frame, const JsonItem *from, size_t subset, JsonItem *out,
                      const Goal **goal)
{
    const ArrayShape *shape = from->shape;
    const uint64_t index = json_frame(machine->tape, frame)->count;
    const size_t position = index < shape->n_positions ? (size_t)index : shape->n_positions;
    uint64_t counts[SHAPE_MAX_CONTAINS] = {0};
    *goal = shape->goals[(position << shape->n_contains) + subset];
    if (*goal == NULL || index >= shape->max_items) return false;
    *out = *from;
    for (size_t k = 0; k < shape->n_contains; k++) {
        counts[k] = from->counts[k] + (subset >> k & 1);
        /* More than enough is enough, where there is no maximum. */
        if (shape->contains[k].max == SHAPE_UNBOUNDED && counts[k] > shape->contains[k].min)
            counts[k] = shape->contains[k].min;
        out->counts[k] = (uint32_t)counts[k];
    }
    if (shape->unique != NULL && !json_goal_unused(machine, frame, *goal)) return false;
    return array_can_finish(shape, index + 1, counts);
}

uint32_t json_next_item(const JsonMachine *machine, uint32_t state)
{
    const Tape *tape = machine->tape;
    const uint32_t from = json_state(tape, state)->frame;
    const uint32_t n_before = json_frame(tape, from)->n_items;
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_before; i++) {
        const ArrayShape *shape = json_frame_items(machine, from)[i].shape;
        n += 1U << shape->n_contains;
    }
    const uint32_t next = json_new_state(machine, state, n);
    const uint32_t frame = next == 0 ? 0 : copy_frame(machine, from, n);
    if (frame == 0) return 0;
    json_state(tape, next)->n_leaves = 0;
    n = 0;
    for (uint32_t i = 0; i < n_before; i++) {
        const JsonItem before = json_frame_items(machine, from)[i]; /* the tape may move while items are tried */
        const ArrayShape *shape = before.shape;
        for (size_t subset = 0; subset < (size_t)1 << shape->n_contains; subset++) {
            const Goal *goal = NULL;
            JsonItem item;
            if (!take_item(machine, from, &before, subset, &item, &goal)) continue;
            item.child = json_join_goal(machine, next, goal, shape->unique != NULL);
            json_frame_items(machine, frame)[n++] = item;
        }
    }
    if (n == 0) return 0;
    json_frame(tape, frame)->n_items = n;
    json_frame(tape, frame)->n_targets = json_state(tape, next)->n_leaves;
    json_seal_frame(machine, frame);
    json_state(tape, next)->frame = frame;
    json_state(tape, next)->mode = MODE_VALUE;
    json_state(tape, next)->space = 0;
    return next;
}
