/*
 * json_machine.c - the lexer: spacing, punctuation, escapes and UTF-8, and the dispatch of everything else.
 */
#include "runtime/constraint/json_state.h"

#include <string.h>

/* A run of spacing is bounded, or a model could go on forever: room for wide indentation, at most one empty line, one space before a
 * colon. */
enum { SPACE_BASE = 20, SPACE_PER_LEVEL = 8, SPACE_LEVELS = 1000, SPACE_LINES = 2, SPACE_COLON = 1, SPACE_LENGTH_BITS = 16 };

uint32_t json_new_state(const JsonMachine *machine, uint32_t from, uint32_t n_leaves)
{
    const uint32_t offset = tape_take(machine->tape, sizeof(JsonState) + n_leaves * sizeof(JsonLeaf));
    if (offset == 0) return 0;
    JsonState *state = json_state(machine->tape, offset);
    if (from != 0) *state = *json_state(machine->tape, from);
    else *state = (JsonState){0};
    state->n_leaves = n_leaves;
    return offset;
}

uint32_t json_keep_text(const JsonMachine *machine, uint32_t state)
{
    const uint32_t length = json_state(machine->tape, state)->bytes;
    const uint32_t offset = tape_take(machine->tape, length + 1);
    if (offset != 0) memcpy(tape_at(machine->tape, offset), machine->tape->text + json_state(machine->tape, state)->text, length);
    return offset;
}

/* A copy with all leaves. */
static uint32_t copy_state(const JsonMachine *machine, uint32_t from)
{
    const uint32_t n = json_state(machine->tape, from)->n_leaves;
    const uint32_t offset = json_new_state(machine, from, n);
    if (offset != 0 && n != 0) {
        memcpy(json_leaves(machine->tape, offset), json_leaves(machine->tape, from), n * sizeof(JsonLeaf));
    }
    return offset;
}

uint32_t json_start(const ShapeSet *shapes, Tape *tape)
{
    const JsonMachine machine = {shapes, tape};
    const uint32_t offset = json_new_state(&machine, 0, 1);
    if (offset == 0) return 0;
    json_leaves(tape, offset)[0] = (JsonLeaf){.shape = shapes->root};
    return offset;
}

static uint32_t space(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const JsonState *state = json_state(machine->tape, offset);
    const uint32_t depth = state->frame == 0 ? 0 : json_frame(machine->tape, state->frame)->depth;
    const uint32_t length = state->space & ((1U << SPACE_LENGTH_BITS) - 1);
    if (state->mode == MODE_COLON && length == SPACE_COLON) return 0;
    if (length >= SPACE_BASE + SPACE_PER_LEVEL * (depth < SPACE_LEVELS ? depth : SPACE_LEVELS)) return 0;
    if (byte == '\n' && state->space >> SPACE_LENGTH_BITS == SPACE_LINES) return 0;
    const uint32_t next = copy_state(machine, offset);
    if (next != 0) json_state(machine->tape, next)->space += 1U + ((uint32_t)(byte == '\n') << SPACE_LENGTH_BITS);
    return next;
}

static uint32_t begin_value(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    if (byte == '"') return json_open_string(machine, offset);
    if (byte == '{' || byte == '[') return json_open_container(machine, offset, byte == '{');
    if (byte == '-' || (byte >= '0' && byte <= '9')) return json_open_number(machine, offset, byte);
    if (byte == 'n' || byte == 't' || byte == 'f') return json_open_literal(machine, offset, byte);
    return 0;
}

static uint32_t after_value(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const uint32_t frame_offset = json_state(machine->tape, offset)->frame;
    const bool is_object = json_frame(machine->tape, frame_offset)->is_object;
    if (byte == (is_object ? '}' : ']')) return json_close_container(machine, offset);
    if (byte != ',') return 0;
    if (!is_object) return json_next_item(machine, offset);
    if (!json_can_add_key(machine, frame_offset)) return 0;
    const uint32_t next = json_new_state(machine, offset, 0);
    if (next != 0) json_state(machine->tape, next)->mode = MODE_KEY;
    if (next != 0) json_state(machine->tape, next)->space = 0;
    return next;
}

static uint32_t colon(const JsonMachine *machine, uint32_t offset)
{
    const uint32_t next = copy_state(machine, offset);
    if (next == 0) return 0;
    json_state(machine->tape, next)->mode = MODE_VALUE;
    json_state(machine->tape, next)->space = 0;
    return next;
}

/*
 * Characters of strings and keys.
 */
static uint32_t character(const JsonMachine *machine, uint32_t offset, uint32_t code_point)
{
    const bool key = json_state(machine->tape, offset)->mode == MODE_KEY_STRING;
    return key ? json_key_character(machine, offset, code_point) : json_string_character(machine, offset, code_point);
}

/* With this character the value around can still become another one than earlier items. */
static bool differs_with(const JsonMachine *machine, uint32_t offset, uint32_t code_point)
{
    Tape *tape = machine->tape;
    const size_t top = tape->top;
    const uint32_t next = character(machine, offset, code_point);
    const bool differs = next != 0 && (next == offset || json_can_differ(machine, next));
    tape->top = top;
    return differs;
}

/* So it can with some character of low … high along the automaton. Where there are as many ways to go on as values to differ from, one
 * is enough; otherwise there are few characters that lead on, and they are tried. */
static bool differs_along(const JsonMachine *machine, uint32_t offset, const JsonLeaf *leaf, uint32_t low, uint32_t high)
{
    const Dfa *dfa = ((const StringShape *)leaf->shape)->dfa;
    const uint64_t ways = dfa_range_completions(dfa, leaf->a, low, high);
    if (ways > json_frame(machine->tape, json_state(machine->tape, offset)->frame)->n_twins) return true;
    for (uint32_t interval = 0; interval < dfa->n_bounds; interval++) {
        uint32_t c = dfa->bounds[interval] > low ? dfa->bounds[interval] : low;
        uint32_t last = interval + 1 < dfa->n_bounds ? dfa->bounds[interval + 1] - 1 : CODE_POINT_MAX;
        if (last > high) last = high;
        if (c > last || dfa_step(dfa, leaf->a, c) == DFA_DEAD) continue;
        for (; c <= last; c++) {
            if (differs_with(machine, offset, c)) return true;
        }
    }
    return false;
}

/* So it can with some character of low … high. */
static bool differs_among(const JsonMachine *machine, uint32_t offset, uint32_t low, uint32_t high)
{
    const JsonState state = *json_state(machine->tape, offset);
    if (state.frame == 0 || json_frame(machine->tape, state.frame)->n_twins == 0) return true;
    if (state.mode == MODE_KEY_STRING) return json_key_differs_among(machine, offset, low, high);
    for (uint32_t i = 0; i < state.n_leaves; i++) {
        const JsonLeaf leaf = json_leaves(machine->tape, offset)[i]; /* the tape may move */
        const StringShape *shape = leaf.shape;
        if (!shape->listed && shape->dfa == NULL) return true;
        if (!shape->listed && differs_along(machine, offset, &leaf, low, high)) return true;
        if (!shape->listed) continue;
        for (uint32_t k = leaf.a; k < leaf.b; k++) {
            size_t at = state.bytes;
            if (at >= shape->lengths[k]) continue;
            const uint32_t code_point = utf8_next(shape->strings[k], shape->lengths[k], &at);
            if (code_point >= low && code_point <= high && differs_with(machine, offset, code_point)) return true;
        }
    }
    return false;
}

static bool possible(const JsonMachine *machine, uint32_t offset, uint32_t low, uint32_t high)
{
    if (low > high) return false;
    const bool key = json_state(machine->tape, offset)->mode == MODE_KEY_STRING;
    if (!(key ? json_key_possible(machine, offset, low, high) : json_string_possible(machine, offset, low, high))) return false;
    return differs_among(machine, offset, low, high);
}

/* As possible(), leaving out surrogates, which are no characters. */
static bool possible_text(const JsonMachine *machine, uint32_t offset, uint32_t low, uint32_t high)
{
    if (low < 0xd800 && possible(machine, offset, low, high < 0xd800 ? high : 0xd7ff)) return true;
    return high >= 0xe000 && possible(machine, offset, low > 0xe000 ? low : 0xe000, high);
}

static uint32_t with_escape(const JsonMachine *machine, uint32_t offset, JsonEscape escape, uint32_t point,
                            uint32_t pending)
{
    const uint32_t next = copy_state(machine, offset);
    if (next == 0) return 0;
    JsonState *state = json_state(machine->tape, next);
    state->escape = (uint8_t)escape;
    state->point = point;
    state->pending = (uint8_t)pending;
    return next;
}

/* `state` has read all but `pending` continuation bytes of a character of `length` bytes. */
static bool utf8_possible(const JsonMachine *machine, uint32_t offset, uint32_t point, uint32_t pending, uint32_t length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t low = point << 6 * pending;
    uint32_t high = low | ((1U << 6 * pending) - 1);
    if (low < least[length]) low = least[length];
    if (high > CODE_POINT_MAX) high = CODE_POINT_MAX;
    return low <= high && possible_text(machine, offset, low, high);
}

static uint32_t begin_utf8(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const uint32_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    if (byte < 0xc2 || byte > 0xf4) return 0;
    const uint32_t point = byte & (0x7fU >> length);
    if (!utf8_possible(machine, offset, point, length - 1, length)) return 0;
    const uint32_t next = with_escape(machine, offset, JSON_UTF8, point, length - 1);
    if (next != 0) json_state(machine->tape, next)->utf8_length = (uint8_t)length;
    return next;
}

static uint32_t continue_utf8(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const JsonState *state = json_state(machine->tape, offset);
    if ((byte & 0xc0) != 0x80) return 0;
    const uint32_t point = state->point << 6 | (byte & 0x3fU);
    const uint32_t pending = state->pending - 1U;
    if (!utf8_possible(machine, offset, point, pending, state->utf8_length)) return 0;
    return pending == 0 ? character(machine, offset, point) : with_escape(machine, offset, JSON_UTF8, point, pending);
}

/* The code points that \u with the digits so far can become, surrogate pairs included. */
static bool hex_possible(const JsonMachine *machine, uint32_t offset, uint32_t point, uint32_t pending)
{
    const uint32_t low = point << 4 * pending;
    const uint32_t high = low | ((1U << 4 * pending) - 1);
    if (possible_text(machine, offset, low, high)) return true;
    const uint32_t first = low < 0xd800 ? 0xd800 : low;
    const uint32_t last = high > 0xdbff ? 0xdbff : high;
    if (first > last) return false;
    return possible(machine, offset, 0x10000 + ((first - 0xd800) << 10), 0x10000 + ((last - 0xd800) << 10) + 0x3ff);
}

static bool low_surrogate_possible(const JsonMachine *machine, uint32_t offset, uint32_t high, uint32_t point,
                                   uint32_t pending)
{
    uint32_t first = point << 4 * pending;
    uint32_t last = first | ((1U << 4 * pending) - 1);
    if (first < 0xdc00) first = 0xdc00;
    if (last > 0xdfff) last = 0xdfff;
    if (first > last) return false;
    const uint32_t base = 0x10000 + ((high - 0xd800) << 10);
    return possible(machine, offset, base + first - 0xdc00, base + last - 0xdc00);
}

static int hex_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9') return byte - '0';
    const unsigned char lower = byte | 32;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static uint32_t hex_digit(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const JsonState *state = json_state(machine->tape, offset);
    const int digit = hex_value(byte);
    if (digit < 0) return 0;
    const uint32_t point = state->point << 4 | (uint32_t)digit;
    const uint32_t pending = state->pending - 1U;
    const uint32_t high = state->high;
    if (state->escape == JSON_PAIR_HEX) {
        if (!low_surrogate_possible(machine, offset, high, point, pending)) return 0;
        if (pending > 0) return with_escape(machine, offset, JSON_PAIR_HEX, point, pending);
        return character(machine, offset, 0x10000 + ((high - 0xd800) << 10) + (point - 0xdc00));
    }
    if (!hex_possible(machine, offset, point, pending)) return 0;
    if (pending > 0) return with_escape(machine, offset, JSON_HEX, point, pending);
    if (point < 0xd800 || point > 0xdbff) return character(machine, offset, point);
    const uint32_t next = with_escape(machine, offset, JSON_PAIR, 0, 0);
    if (next != 0) json_state(machine->tape, next)->high = point;
    return next;
}

static uint32_t escaped(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (byte == 'u') return with_escape(machine, offset, JSON_HEX, 0, 4);
    const char *found = byte == 0 ? NULL : strchr(names, byte);
    if (found == NULL) return 0;
    const uint32_t code_point = (unsigned char)meanings[found - names];
    return possible(machine, offset, code_point, code_point) ? character(machine, offset, code_point) : 0;
}

static uint32_t string_byte(const JsonMachine *machine, uint32_t offset, unsigned char byte)
{
    const JsonState *state = json_state(machine->tape, offset);
    switch ((JsonEscape)state->escape) {
    case JSON_UTF8: return continue_utf8(machine, offset, byte);
    case JSON_BACKSLASH: return escaped(machine, offset, byte);
    case JSON_HEX:
    case JSON_PAIR_HEX: return hex_digit(machine, offset, byte);
    case JSON_PAIR: return byte == '\\' ? with_escape(machine, offset, JSON_PAIR_U, 0, 0) : 0;
    case JSON_PAIR_U: return byte == 'u' ? with_escape(machine, offset, JSON_PAIR_HEX, 0, 4) : 0;
    case JSON_PLAIN: break;
    }
    if (byte == '"') {
        const bool key = state->mode == MODE_KEY_STRING;
        return key ? json_close_key(machine, offset) : json_close_string(machine, offset);
    }
    if (byte == '\\') {
        return possible_text(machine, offset, 0, CODE_POINT_MAX) ? with_escape(machine, offset, JSON_BACKSLASH, 0, 0) : 0;
    }
    if (byte < 0x20) return 0;
    return byte < 0x80 ? character(machine, offset, byte) : begin_utf8(machine, offset, byte);
}

static bool is_space(unsigned char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

static uint32_t step(const ShapeSet *shapes, Tape *tape, uint32_t offset, unsigned char byte)
{
    const JsonMachine machine = {shapes, tape};
    const JsonMode mode = (JsonMode)json_state(tape, offset)->mode;
    if (mode == MODE_STRING || mode == MODE_KEY_STRING) return string_byte(&machine, offset, byte);
    if (mode == MODE_LITERAL) return json_literal_byte(&machine, offset, byte);
    if (mode == MODE_NUMBER) return json_number_byte(&machine, offset, byte);
    if (is_space(byte)) return space(&machine, offset, byte);
    switch (mode) {
    case MODE_VALUE: return begin_value(&machine, offset, byte);
    case MODE_FIRST_ITEM:
        if (byte == ']') return json_close_container(&machine, offset);
        offset = json_next_item(&machine, offset);
        return offset == 0 ? 0 : begin_value(&machine, offset, byte);
    case MODE_FIRST_KEY:
        if (byte == '}') return json_close_container(&machine, offset);
        return byte == '"' ? json_open_key(&machine, offset) : 0;
    case MODE_KEY: return byte == '"' ? json_open_key(&machine, offset) : 0;
    case MODE_COLON: return byte == ':' ? colon(&machine, offset) : 0;
    case MODE_AFTER: return after_value(&machine, offset, byte);
    case MODE_END:
    case MODE_LITERAL:
    case MODE_NUMBER:
    case MODE_STRING:
    case MODE_KEY_STRING: break;
    }
    return 0;
}

uint32_t json_step(const ShapeSet *shapes, Tape *tape, uint32_t offset, unsigned char byte)
{
    const uint32_t next = step(shapes, tape, offset, byte);
    const uint32_t frame = next == 0 || next == offset ? 0 : json_state(tape, next)->frame;
    if (frame == 0 || json_frame(tape, frame)->n_twins == 0) return next;
    const JsonMachine machine = {shapes, tape};
    return json_can_differ(&machine, next) ? next : 0;
}

bool json_complete(const Tape *tape, uint32_t offset)
{
    const JsonState *state = json_state(tape, offset);
    if (state->mode == MODE_END) return true;
    const JsonMachine machine = {NULL, (Tape *)(uintptr_t)tape};
    return state->mode == MODE_NUMBER && state->frame == 0 && json_number_complete(&machine, offset);
}

bool json_finished(const Tape *tape, uint32_t offset) { return json_state(tape, offset)->mode == MODE_END; }

uint64_t json_hash(const Tape *tape, uint32_t offset)
{
    const JsonState *state = json_state(tape, offset);
    uint64_t hash = state->frame == 0 ? 1 : json_frame(tape, state->frame)->hash;
    hash = hash_mix(hash, (uint64_t)state->mode | (uint64_t)state->escape << 8 | (uint64_t)state->pending << 16 |
                              (uint64_t)state->utf8_length << 24 | (uint64_t)state->space << 32);
    hash = hash_mix(hash, (uint64_t)state->point | (uint64_t)state->high << 32);
    if (state->mode == MODE_KEY_STRING && !state->nameless) {
        hash = hash_mix(hash, (uint64_t)state->names_low | (uint64_t)state->names_high << 32);
        hash = hash_mix(hash, state->content_hash);
    }
    if (state->mode == MODE_NUMBER) {
        const NumberText *number = &state->number;
        hash = hash_mix(hash, (uint64_t)number->digits);
        hash = hash_mix(hash, (uint64_t)(number->digits >> 64));
        hash = hash_mix(hash, (uint64_t)(uint16_t)number->n_digits | (uint64_t)(uint16_t)number->n_decimals << 16 |
                                  (uint64_t)(uint16_t)number->exponent << 32 | (uint64_t)number->phase << 48);
        hash = hash_mix(hash, (uint64_t)number->negative | (uint64_t)number->exponent_negative << 1 |
                                  (uint64_t)(uint16_t)number->n_exponent << 2);
    }
    if (state->mode == MODE_LITERAL) hash = hash_mix(hash, state->literal * 16U + state->bytes);
    const JsonLeaf *leaves = json_leaves(tape, offset);
    bool counted = false;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        hash = hash_mix(hash, json_shape_id(leaves[i].shape));
        hash = hash_mix(hash, (uint64_t)leaves[i].a | (uint64_t)leaves[i].b << 32);
        hash = hash_mix(hash, (uint64_t)leaves[i].target | (uint64_t)leaves[i].unique << 32);
        if (state->mode != MODE_STRING) continue;
        const StringShape *shape = leaves[i].shape;
        counted = counted || shape->listed || shape->min_length > 0 || shape->max_length != DFA_UNBOUNDED;
        if (state->kept) hash = hash_mix(hash, state->content_hash);
    }
    if (counted) hash = hash_mix(hash, (uint64_t)state->characters | (uint64_t)state->bytes << 32);
    return hash;
}

size_t json_movable_size(const Tape *tape, uint32_t before, uint32_t offset)
{
    const JsonState *state = json_state(tape, offset);
    if (state->frame != json_state(tape, before)->frame) return 0;
    return sizeof *state + state->n_leaves * sizeof(JsonLeaf);
}

/* The string is to be one of a list, as an item that differs from all before it, and nothing else. */
static bool is_listed_item(const Tape *tape, uint32_t offset)
{
    const JsonState *state = json_state(tape, offset);
    const JsonLeaf *leaf = json_leaves(tape, offset);
    if (state->mode != MODE_STRING || !state->kept || state->n_leaves != 1 || !leaf->unique) return false;
    return ((const StringShape *)leaf->shape)->listed && json_frame(tape, state->frame)->n_twins == 0;
}

/* Bits of the texts in the leaf's list that were no item yet, on the tape; NULL without memory. */
static const uint64_t *unused_texts(const JsonMachine *machine, uint32_t frame, const JsonLeaf *leaf)
{
    const StringShape *shape = leaf->shape;
    const size_t words = shape->n_strings / 64 + 1;
    const uint32_t offset = tape_take(machine->tape, words * sizeof(uint64_t));
    if (offset == 0) return NULL;
    uint64_t *unused = tape_at(machine->tape, offset);
    memset(unused, 0, words * sizeof *unused);
    for (uint32_t i = leaf->a; i < leaf->b; i++)
        unused[i / 64] |= (uint64_t)!json_text_was_seen(machine, frame, shape->strings[i], shape->lengths[i]) << i % 64;
    return unused;
}

/* The way that the leaf goes on; false without memory. */
static bool leaf_cursor(const JsonMachine *machine, uint32_t offset, const JsonLeaf *leaf, StringCursor *cursor)
{
    const JsonState *state = json_state(machine->tape, offset);
    const StringShape *shape = leaf->shape;
    *cursor = (StringCursor){.dfa = shape->dfa, .state = leaf->a, .most = DFA_UNBOUNDED};
    if (shape->min_length > state->characters) cursor->least = shape->min_length - state->characters;
    if (shape->max_length != DFA_UNBOUNDED) cursor->most = shape->max_length - state->characters;
    if (!shape->listed) return true;
    *cursor = (StringCursor){.texts = shape->strings, .lengths = shape->lengths, .a = leaf->a, .b = leaf->b, .bytes = state->bytes};
    if (is_listed_item(machine->tape, offset)) cursor->chosen = unused_texts(machine, state->frame, leaf);
    return !machine->tape->failed;
}

/* Inside a string. Leaves that differ in what they are for alone go on alike. */
static size_t string_cursors(const JsonMachine *machine, uint32_t offset, StringCursor *cursors, size_t capacity)
{
    size_t n = 0;
    for (uint32_t i = 0; i < json_state(machine->tape, offset)->n_leaves; i++) {
        const JsonLeaf leaf = json_leaves(machine->tape, offset)[i]; /* the tape may move */
        StringCursor cursor;
        if (!leaf_cursor(machine, offset, &leaf, &cursor)) return 0;
        size_t same = 0;
        while (same < n && memcmp(&cursors[same], &cursor, sizeof cursor) != 0) same++;
        if (same < n) continue;
        if (n == capacity) return 0;
        memcpy(&cursors[n++], &cursor, sizeof cursor);
    }
    return n;
}

size_t json_cursors(const ShapeSet *shapes, Tape *tape, uint32_t offset, StringCursor *cursors, size_t capacity)
{
    const JsonState *state = json_state(tape, offset);
    const JsonMachine machine = {shapes, tape};
    if (state->escape != JSON_PLAIN) return 0;
    if (state->mode == MODE_KEY_STRING) return json_key_cursors(&machine, offset, cursors, capacity);
    return state->mode == MODE_STRING ? string_cursors(&machine, offset, cursors, capacity) : 0;
}

bool json_may_meet(const Tape *tape, uint32_t offset)
{
    const JsonState *state = json_state(tape, offset);
    return (state->mode != MODE_KEY_STRING || state->nameless) && (state->frame == 0 || !json_frame(tape, state->frame)->keeps);
}

/* The way of a leaf of a string; false when there is none. */
static bool string_way(const JsonState *state, const StringShape *shape, uint32_t automaton, StringCursor *way)
{
    if (shape->listed) return false;
    *way = (StringCursor){.dfa = shape->dfa, .state = automaton, .most = DFA_UNBOUNDED};
    if (shape->dfa != NULL && shape->min_length > state->characters) way->least = shape->min_length - state->characters;
    if (shape->max_length != DFA_UNBOUNDED) way->most = shape->max_length - state->characters;
    /* A text of the greatest length is this one only, which may have been there. */
    if (state->kept && shape->dfa == NULL && shape->max_length != DFA_UNBOUNDED) return way->most-- > 0;
    return true;
}

/* The way of a free key. */
static bool key_way(const JsonLeaf *leaf, StringCursor *way)
{
    *way = (StringCursor){.dfa = ((const ObjectShape *)leaf->shape)->free_keys, .state = leaf->a, .most = DFA_UNBOUNDED};
    return leaf->b != 0;
}

static bool same_way(const StringCursor *a, const StringCursor *b)
{
    return a->dfa == b->dfa && a->state == b->state && a->least == b->least && a->most == b->most;
}

static void add_way(JsonWays *out, const StringCursor *way)
{
    for (size_t i = 0; i < out->n; i++) {
        if (same_way(&out->ways[i], way)) return;
    }
    if (out->n < JSON_MAX_WAYS) out->ways[out->n++] = *way;
    else out->only = false;
}

void json_ways(const Tape *tape, uint32_t offset, JsonWays *out)
{
    const JsonState *state = json_state(tape, offset);
    const bool key = state->mode == MODE_KEY_STRING;
    out->n = 0;
    if ((!key && state->mode != MODE_STRING) || state->escape != JSON_PLAIN) return;
    out->endless = key || state->kept;
    out->only = !key || state->names_low == state->names_high;
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, offset)[i];
        StringCursor way;
        const bool there = key ? key_way(leaf, &way) : string_way(state, leaf->shape, leaf->a, &way);
        if (there && way.dfa == NULL && way.most == DFA_UNBOUNDED) { /* no other can do more */
            out->ways[0] = way;
            out->n = 1;
            return;
        }
        /* Where the longest texts, or the last few, are left out there are others. */
        if (!there || (out->endless && (way.dfa == NULL || way.dfa->some_finite))) out->only = false;
        if (there) add_way(out, &way);
    }
}

/* Where an automaton has come to behind the text, few others are left that it accepts. */
static bool ends_among_few(const Dfa *dfa, uint32_t state, const char *text, size_t length)
{
    if (!dfa->some_finite) return false;
    for (size_t at = 0; at < length && state != DFA_DEAD;) state = dfa_step(dfa, state, utf8_next(text, length, &at));
    return state != DFA_DEAD && dfa->completions[state] != DFA_UNBOUNDED;
}

/* That the string or key must not become this, text[length] from here on, can keep it from its beginnings too: not where endlessly
 * many others begin so. */
static bool forbids_beginnings(const Tape *tape, uint32_t offset, const char *text, size_t length)
{
    const JsonState *state = json_state(tape, offset);
    for (uint32_t i = 0; i < state->n_leaves; i++) {
        const JsonLeaf *leaf = &json_leaves(tape, offset)[i];
        const bool key = state->mode == MODE_KEY_STRING;
        const StringShape *shape = key ? NULL : leaf->shape;
        const Dfa *dfa = key ? ((const ObjectShape *)leaf->shape)->free_keys : shape->dfa;
        if (!key && (shape->listed || (dfa == NULL && shape->max_length != DFA_UNBOUNDED))) return true;
        if (dfa != NULL && ends_among_few(dfa, leaf->a, text, length)) return true;
    }
    return false;
}

/* What is left of `seen` behind the string's beginning, if it begins so. The tape may move while `found` works. */
static void tell_rest(const Tape *tape, uint32_t offset, const JsonSeen *seen, JsonOtherText *found, void *context)
{
    const JsonState *state = json_state(tape, offset);
    if (seen->type != JSON_VALUE_STRING || seen->length < state->bytes) return;
    if (memcmp(json_seen_text(tape, seen), tape->text + state->text, state->bytes) != 0) return;
    const char *rest = json_seen_text(tape, seen) + state->bytes;
    if (forbids_beginnings(tape, offset, rest, seen->length - state->bytes)) found(context, rest, seen->length - state->bytes);
}

/* Names that the key can still become, and keys of the object that begin like it. */
static void tell_keys(const ShapeSet *shapes, const Tape *tape, uint32_t offset, JsonOtherText *found, void *context)
{
    const JsonState state = *json_state(tape, offset);
    for (uint32_t id = state.names_low; id < state.names_high; id++) {
        const char *rest = shapes->names[id] + state.bytes;
        const size_t length = shapes->name_lengths[id] - state.bytes;
        if (forbids_beginnings(tape, offset, rest, length)) found(context, rest, length);
    }
    for (uint32_t at = json_frame(tape, state.frame)->seen; at != 0; at = ((const JsonSeen *)tape_at(tape, at))->next)
        tell_rest(tape, offset, tape_at(tape, at), found, context);
}

void json_other_texts(const ShapeSet *shapes, const Tape *tape, uint32_t offset, JsonOtherText *found, void *context)
{
    const JsonState *state = json_state(tape, offset);
    if (state->mode == MODE_KEY_STRING && state->escape == JSON_PLAIN) {
        const JsonMachine machine = {shapes, (Tape *)(uintptr_t)tape};
        if (json_key_may_repeat(&machine, offset)) tell_keys(shapes, tape, offset, found, context);
        return;
    }
    if (state->mode != MODE_STRING || state->escape != JSON_PLAIN || !state->kept || is_listed_item(tape, offset)) return;
    const JsonMachine machine = {NULL, (Tape *)(uintptr_t)tape};
    const uint32_t frame = state->frame;
    uint32_t at = json_frame(tape, frame)->is_object ? 0 : json_frame(tape, frame)->seen;
    for (; at != 0; at = ((const JsonSeen *)tape_at(tape, at))->next) tell_rest(tape, offset, tape_at(tape, at), found, context);
    for (uint32_t twin = json_frame(tape, frame)->twins; twin != 0;) {
        bool there = false;
        const JsonSeen *seen = json_twin_part(&machine, json_frame(tape, frame), &twin, &there);
        if (there) tell_rest(tape, offset, seen, found, context);
    }
}

bool json_inside_scalar(const Tape *tape, uint32_t offset)
{
    const uint8_t mode = json_state(tape, offset)->mode;
    return mode == MODE_STRING || mode == MODE_KEY_STRING || mode == MODE_LITERAL;
}
