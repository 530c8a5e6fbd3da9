/*
 * json_index.c - earlier items and keys by their hashes, so that asking whether one was there takes as long in a long array as in a
 * short one.
 */
#include "runtime/constraint/json_state.h"

#include <string.h>

/* Numbers that are equal as doubles have to be found too. */
static uint64_t number_key(Decimal value)
{
    const double number = decimal_to_double(value);
    uint64_t bits = 0;
    memcpy(&bits, &number, sizeof bits);
    return hash_mix(bits, JSON_VALUE_NUMBER);
}

static uint64_t key_of(const JsonSeen *seen) { return seen->type == JSON_VALUE_NUMBER ? number_key(seen->number) : seen->hash; }

/* The side on which entries below `depth` others lie. Entries of one key lie on one way, which goes through its bits again and again. */
static unsigned side(uint64_t key, unsigned depth) { return (unsigned)(key >> depth % 64 & 1); }

bool json_index_add(const JsonMachine *machine, uint32_t frame, uint32_t node)
{
    const Tape *tape = machine->tape;
    const uint64_t key = key_of(tape_at(tape, node));
    uint32_t from = json_frame(tape, frame)->index;
    uint32_t above = 0;
    for (unsigned depth = 0;; depth++) {
        const uint32_t entry = tape_take(machine->tape, sizeof(JsonIndex));
        if (entry == 0) return false;
        JsonIndex *index = tape_at(tape, entry);
        *index = from == 0 ? (JsonIndex){.key = key, .seen = node} : *(const JsonIndex *)tape_at(tape, from);
        if (above == 0) json_frame(tape, frame)->index = entry;
        else ((JsonIndex *)tape_at(tape, above))->below[side(key, depth - 1)] = entry;
        if (from == 0) return true;
        above = entry;
        from = index->below[side(key, depth)];
    }
}

bool json_number_was_seen(const JsonMachine *machine, uint32_t frame, Decimal value, bool is_float)
{
    const Tape *tape = machine->tape;
    const uint64_t key = number_key(value);
    uint32_t at = json_frame(tape, frame)->index;
    for (unsigned depth = 0; at != 0; depth++) {
        const JsonIndex *index = tape_at(tape, at);
        const JsonSeen *earlier = tape_at(tape, index->seen);
        at = index->below[side(key, depth)];
        if (index->key != key || earlier->type != JSON_VALUE_NUMBER) continue;
        if (is_float ? decimal_to_double(earlier->number) == decimal_to_double(value)
                     : decimal_compare(earlier->number, value) == 0)
            return true;
    }
    return false;
}

bool json_text_was_seen(const JsonMachine *machine, uint32_t frame, const char *text, size_t length)
{
    const Tape *tape = machine->tape;
    uint32_t at = json_frame(tape, frame)->index;
    if (at == 0) return false;
    uint64_t key = JSON_EMPTY_TEXT_HASH;
    for (size_t i = 0; i < length;) key = hash_mix(key, utf8_next(text, length, &i));
    for (unsigned depth = 0; at != 0; depth++) {
        const JsonIndex *index = tape_at(tape, at);
        const JsonSeen *earlier = tape_at(tape, index->seen);
        at = index->below[side(key, depth)];
        if (index->key != key || earlier->type != JSON_VALUE_STRING || earlier->length != length) continue;
        if (memcmp(json_seen_text(tape, earlier), text, length) == 0) return true;
    }
    return false;
}

static bool same_value(const Tape *tape, const JsonSeen *a, const JsonSeen *b)
{
    if (a->type != b->type || a->hash != b->hash || a->length != b->length) return false;
    if (a->type == JSON_VALUE_NUMBER) return decimal_compare(a->number, b->number) == 0;
    if (a->type == JSON_VALUE_STRING) return memcmp(json_seen_text(tape, a), json_seen_text(tape, b), a->length) == 0;
    return true;
}

bool json_was_seen(const JsonMachine *machine, uint32_t frame, const JsonSeen *seen)
{
    const Tape *tape = machine->tape;
    uint32_t at = json_frame(tape, frame)->index;
    if (at == 0) return false;
    const uint64_t key = key_of(seen);
    for (unsigned depth = 0; at != 0; depth++) {
        const JsonIndex *index = tape_at(tape, at);
        if (index->key == key && same_value(tape, tape_at(tape, index->seen), seen)) return true;
        at = index->below[side(key, depth)];
    }
    return false;
}
