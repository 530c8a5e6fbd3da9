/*
 * json_state.h - the records of the JSON machine on its tape, and what its files offer each other.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_JSON_STATE_H
#define IMP_RUNTIME_CONSTRAINT_JSON_STATE_H

#include "runtime/constraint/hash.h"
#include "runtime/constraint/json_machine.h"
#include "runtime/constraint/number.h"

typedef enum JsonMode {
    MODE_VALUE,        /* a value is expected; leaves: the goals it may have */
    MODE_FIRST_ITEM,   /* behind '[': as MODE_VALUE, or ']' */
    MODE_FIRST_KEY,    /* behind '{': a key or '}' */
    MODE_KEY,          /* behind ',' of an object */
    MODE_COLON,        /* behind a key; leaves: the goals of its value */
    MODE_AFTER,        /* behind a value inside a container */
    MODE_END,          /* behind the whole value */
    MODE_LITERAL,      /* inside null, true or false */
    MODE_NUMBER,
    MODE_STRING,       /* inside a string; leaves: string shapes */
    MODE_KEY_STRING,   /* inside a key; leaves: object shapes of the frame */
} JsonMode;

typedef enum JsonEscape {
    JSON_PLAIN,
    JSON_UTF8,       /* inside a character of several bytes */
    JSON_BACKSLASH,
    JSON_HEX,        /* behind \u */
    JSON_PAIR,       /* a high surrogate was read: \ must follow */
    JSON_PAIR_U,     /* and u */
    JSON_PAIR_HEX,   /* and the low surrogate */
} JsonEscape;

/* A possibility for the value, the string, the number or the key that is being read. */
typedef struct JsonLeaf {
    const void *shape; /* Goal, NumberShape, StringShape or ObjectShape by mode */
    uint32_t target;   /* value modes: number of the goal; MODE_KEY_STRING: item of the frame */
    uint32_t a, b;     /* string list: range of strings that begin so; automaton: its state in a */
    bool unique;       /* must differ from earlier items of the array */
} JsonLeaf;

/* A possibility for an open container. */
typedef struct JsonItem {
    const void *shape; /* ArrayShape or ObjectShape */
    uint32_t target;   /* the goal of the container's own value */
    uint32_t child;    /* the goal of the value being read inside */
    uint32_t counts[SHAPE_MAX_CONTAINS];
    uint32_t exists;   /* bits of EXISTS demands that were met */
} JsonItem;

/* A key without a number (JsonKey lists), or a value inside an array whose items must differ: an earlier item or a part of one. */
typedef struct JsonSeen {
    uint32_t next;
    uint32_t start, length; /* of its characters on the tape; length of a container: its values */
    JsonType type;
    Decimal number;
    uint64_t hash;          /* of what the value is: equal values have equal hashes */
    uint32_t children;      /* newest value of a container */
    uint32_t key_id;        /* in an object: number of its key + 1, 0 for a free one */
    uint64_t key_hash;      /* in an object: of its key; in an array: its index */
} JsonSeen;

/* A value seen earlier that the container being read may still become equal to. */
typedef struct JsonTwin {
    uint32_t next, seen;
} JsonTwin;

/* Earlier items or keys by a hash: a tree along its bits, of which a new entry copies the way to its place. */
typedef struct JsonIndex {
    uint64_t key;
    uint32_t seen, below[2];
} JsonIndex;

typedef struct JsonFrame {
    uint32_t parent, depth;
    uint32_t seen;       /* newest JsonSeen */
    uint32_t index;      /* the same as JsonIndex */
    uint32_t n_items, n_targets; /* possibilities; goals of the value being read inside */
    uint64_t count;      /* items or keys that were finished */
    uint64_t seen_hash, hash;
    bool is_object;
    bool recorded;       /* lies inside an array whose items must differ: what it holds is kept in `children` */
    bool keeps;          /* recorded, or such an array itself */
    uint32_t children, n_children;
    uint32_t twins, n_twins; /* list of JsonTwin */
    uint32_t twins_depth;    /* of the frame whose items they are, or are parts of */
    uint32_t key_id;         /* of the value being read: see JsonSeen */
    uint64_t key_hash, children_hash;
    /* then, for objects, [words] bits of the numbered keys that are there; then [n_items] JsonItem */
} JsonFrame;

typedef struct JsonState {
    uint32_t frame; /* innermost open container, 0: none */
    uint8_t mode, escape;
    uint8_t pending;       /* bytes or hex digits still to come */
    uint8_t utf8_length;
    bool kept;             /* a string whose characters are put on the tape's text */
    bool nameless;         /* a key that can become no name of the schema and no earlier key: what it is does not matter */
    uint32_t point;        /* the part of a code point that was read */
    uint32_t high;         /* the surrogate */
    uint32_t space;        /* length of the run of spacing; above 16 bits its line breaks */
    uint32_t names_low, names_high; /* keys: names that begin so */
    uint32_t characters, bytes;     /* of the string or key so far; of a literal: bytes read */
    uint32_t text;         /* where the string began, or the next one begins, on the tape's text; never where an earlier one was, which a
                              state that another token leads to may still be reading */
    uint32_t literal;      /* JsonType of the literal */
    uint64_t content_hash; /* of the key so far */
    uint32_t n_leaves;
    NumberText number;
    /* then [n_leaves] JsonLeaf */
} JsonState;

typedef struct JsonMachine {
    const ShapeSet *shapes;
    Tape *tape;
} JsonMachine;

static inline JsonState *json_state(const Tape *tape, uint32_t offset) { return tape_at(tape, offset); }
/* A character is read whole: how it was written matters no more. */
static inline void json_end_character(JsonState *state)
{
    state->escape = JSON_PLAIN;
    state->pending = state->utf8_length = 0;
    state->point = state->high = 0;
}
static inline JsonLeaf *json_leaves(const Tape *tape, uint32_t offset)
{
    return (JsonLeaf *)(void *)((char *)tape_at(tape, offset) + sizeof(JsonState));
}
static inline JsonFrame *json_frame(const Tape *tape, uint32_t offset) { return tape_at(tape, offset); }
static inline uint64_t *json_frame_keys(const Tape *tape, uint32_t offset)
{
    return (uint64_t *)(void *)((char *)tape_at(tape, offset) + sizeof(JsonFrame));
}
static inline JsonItem *json_frame_items(const JsonMachine *machine, uint32_t offset)
{
    const JsonFrame *frame = json_frame(machine->tape, offset);
    return (JsonItem *)(void *)(json_frame_keys(machine->tape, offset) + (frame->is_object ? machine->shapes->words : 0));
}

static inline const char *json_seen_text(const Tape *tape, const JsonSeen *seen) { return tape_at(tape, seen->start); }

/* The id that all shapes and goals begin with. */
static inline uint32_t json_shape_id(const void *shape) { return *(const uint32_t *)shape; }

/* A new state like `from` (0: zeroes) with room for n_leaves, which are not set. 0 without memory. */
uint32_t json_new_state(const JsonMachine *machine, uint32_t from, uint32_t n_leaves);
/* A new frame; items are not set, the keys of objects are zero. 0 without memory. */
uint32_t json_new_frame(const JsonMachine *machine, bool is_object, uint32_t n_items);
/* Puts the characters of the string or key that was read on the tape, where they stay: their place; 0 without memory. */
uint32_t json_keep_text(const JsonMachine *machine, uint32_t state);
/* Sets the frame's hash once everything else is. */
void json_seal_frame(const JsonMachine *machine, uint32_t frame);

/* json_frame.c: containers. */
uint32_t json_open_container(const JsonMachine *machine, uint32_t state, bool is_object);
uint32_t json_close_container(const JsonMachine *machine, uint32_t state);
/* Behind ',' or '[' of an array: the new state expects another item. 0 when no shape can take one. */
uint32_t json_next_item(const JsonMachine *machine, uint32_t state);
/* The value that was read is finished; accepted[n] tells which of the goals (of the frame's n_targets, or the one of the whole
 * text) it satisfies. `seen` is the value for arrays whose items must differ. */
uint32_t json_finish_value(const JsonMachine *machine, uint32_t state, const bool *accepted, const JsonSeen *seen);

/* json_unique.c: items that must differ. */

/* The frame of a container just opened inside `parent` learns which earlier values it may become equal to. */
bool json_find_twins(const JsonMachine *machine, uint32_t frame, uint32_t parent);
/* A value inside a recorded frame is finished: it is kept, and earlier values without it are twins no more. */
bool json_record(const JsonMachine *machine, uint32_t frame, const JsonSeen *seen);
/* The state can still become a value that differs from all twins of the containers around it. */
bool json_can_differ(const JsonMachine *machine, uint32_t state);
/* The value is one of the goal, as far as that is easy to see: false only where it is none. */
bool json_goal_takes(const Tape *tape, const Goal *goal, const JsonSeen *value);
/* So it can when the name `id` becomes the key that is being read, for this leaf. */
bool json_name_can_differ(const JsonMachine *machine, uint32_t state, const JsonLeaf *leaf, uint32_t id);
/* The value at the place of the one being read in the nth twin of the frame; NULL behind the last, *there false where it has none. */
const JsonSeen *json_twin_part(const JsonMachine *machine, const JsonFrame *frame, uint32_t *twin, bool *there);

/* json_index.c: earlier items and keys. Adds the one at `node`. */
bool json_index_add(const JsonMachine *machine, uint32_t frame, uint32_t node);
/* A string or key among them is this text. */
bool json_text_was_seen(const JsonMachine *machine, uint32_t frame, const char *text, size_t length);
/* A number among them is this one, or as a double when one of the two is written with a point or an exponent. */
bool json_number_was_seen(const JsonMachine *machine, uint32_t frame, Decimal value, bool is_float);
/* The value `seen` was an item before (frame: of the array). */
bool json_was_seen(const JsonMachine *machine, uint32_t frame, const JsonSeen *seen);
/* The number of the goal among the leaves of the new state `offset`, which it joins when it is new. */
uint32_t json_join_goal(const JsonMachine *machine, uint32_t offset, const Goal *goal, bool unique);

/* json_key.c: keys. */
bool json_can_add_key(const JsonMachine *machine, uint32_t frame);
uint32_t json_open_key(const JsonMachine *machine, uint32_t state);
/* Feeds a character; 0 when no key begins so. */
uint32_t json_key_character(const JsonMachine *machine, uint32_t state, uint32_t code_point);
/* Some character in low … high can follow. */
bool json_key_possible(const JsonMachine *machine, uint32_t state, uint32_t low, uint32_t high);
/* So it can, and the object around can become another one than earlier items. */
bool json_key_differs_among(const JsonMachine *machine, uint32_t state, uint32_t low, uint32_t high);
uint32_t json_close_key(const JsonMachine *machine, uint32_t state);
/* json_cursors() inside a key. */
size_t json_key_cursors(const JsonMachine *machine, uint32_t state, StringCursor *cursors, size_t capacity);
/* What tokens can make of the key does not follow from its cursors everywhere. */
bool json_key_may_repeat(const JsonMachine *machine, uint32_t state);

/* All keys that the item still needs are there. */
bool json_keys_complete(const JsonMachine *machine, uint32_t frame, const JsonItem *item);

/* json_scalar.c: strings, numbers, null, true, false. */
uint32_t json_open_string(const JsonMachine *machine, uint32_t state);
uint32_t json_string_character(const JsonMachine *machine, uint32_t state, uint32_t code_point);
bool json_string_possible(const JsonMachine *machine, uint32_t state, uint32_t low, uint32_t high);
uint32_t json_close_string(const JsonMachine *machine, uint32_t state);
uint32_t json_open_literal(const JsonMachine *machine, uint32_t state, unsigned char byte);
uint32_t json_literal_byte(const JsonMachine *machine, uint32_t state, unsigned char byte);
uint32_t json_open_number(const JsonMachine *machine, uint32_t state, unsigned char byte);
/* Goes on with the number, or ends it and goes on behind it. */
uint32_t json_number_byte(const JsonMachine *machine, uint32_t state, unsigned char byte);
/* The number so far is one that some goal accepts. */
bool json_number_complete(const JsonMachine *machine, uint32_t state);
/* Texts that the string can become, at least. */
uint32_t json_string_ways(const JsonState *state, const JsonLeaf *leaf);
/* Some completion of the string, or of the number, is none of the values. */
bool json_string_avoids(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, const JsonSeen *const *others,
                        size_t n_others);
bool json_number_avoids(const JsonMachine *machine, const JsonState *state, const JsonLeaf *leaf, const JsonSeen *const *others,
                        size_t n_others);
/* Some value of the goal is not among the earlier items of the array. */
bool json_goal_unused(const JsonMachine *machine, uint32_t frame, const Goal *goal);

/* JsonState.content_hash before the first character; each is mixed into it. */
#define JSON_EMPTY_TEXT_HASH UINT64_C(0x2545f4914f6cdd1d)

#endif
