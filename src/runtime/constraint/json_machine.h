/*
 * json_machine.h - reads JSON a byte at a time and follows every shape that the value so far can still be.
 *
 * JSON itself is deterministic: there is one lexer and one stack of open containers. What is not is the schema, so that each
 * level holds a list of shapes that are still possible. Shapes die as the text rules them out; a value ends with the set of
 * goals that accepted it, and the level above keeps those of its shapes that wanted one of these. Every kept shape has a
 * completion, so a state that exists is never a dead end.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_JSON_MACHINE_H
#define IMP_RUNTIME_CONSTRAINT_JSON_MACHINE_H

#include "runtime/constraint/shape.h"
#include "runtime/constraint/tape.h"

/* States are offsets on the tape; 0 is no state: the text is refused (or tape->failed). */
uint32_t json_start(const ShapeSet *shapes, Tape *tape);
uint32_t json_step(const ShapeSet *shapes, Tape *tape, uint32_t state, unsigned char byte);
/* The value is whole. */
bool json_complete(const Tape *tape, uint32_t state);
/* Nothing but spacing can follow. */
bool json_finished(const Tape *tape, uint32_t state);

/* States with equal hashes allow the same continuations. */
uint64_t json_hash(const Tape *tape, uint32_t state);

/* Size of the record of `state` when nothing else that was written since `before` belongs to it; 0 otherwise. */
size_t json_movable_size(const Tape *tape, uint32_t before, uint32_t state);

/* One way in which the string being read can go on: along an automaton (NULL: anyhow) for `least` to `most` characters, or, where
 * there are texts, as the rest behind `bytes` of one of texts[a … b), sorted. */
typedef struct StringCursor {
    const Dfa *dfa;
    uint32_t state, least, most;
    const char *const *texts;
    const size_t *lengths;
    const uint64_t *chosen; /* bits of those that count; NULL: all */
    uint32_t a, b, bytes;
} StringCursor;

/* Inside a string or key: all ways to go on in cursors[capacity]; 0 when there are more or this is another place. What they refer to
 * may lie on the tape behind its top. */
size_t json_cursors(const ShapeSet *shapes, Tape *tape, uint32_t state, StringCursor *cursors, size_t capacity);
/* Other ways may lead to an equal state. Not so inside a key, and not inside an array whose items must differ: what was read there
 * has to be remembered. */
bool json_may_meet(const Tape *tape, uint32_t state);
/* Some ways to go on with ordinary characters (of ASCII; none that ends the string or key, escapes or controls), along automata or
 * anyhow. What one of them goes on with may come. */
enum { JSON_MAX_WAYS = 4 };
typedef struct JsonWays {
    StringCursor ways[JSON_MAX_WAYS];
    size_t n;
    bool only;    /* nothing else may come */
    bool endless; /* an automaton counts only where endlessly many texts are left: one that has to differ from others is among them */
} JsonWays;
/* Inside a string or key: its ways; without any in other places. */
void json_ways(const Tape *tape, uint32_t state, JsonWays *out);
/* Inside a string that must perhaps not become equal to others, or inside a key: calls `found` with what would make it one of those
 * others, or a name. Where a token is the beginning of that, cursors do not tell whether it may come. */
typedef void JsonOtherText(void *context, const char *text, size_t length);
void json_other_texts(const ShapeSet *shapes, const Tape *tape, uint32_t state, JsonOtherText *found, void *context);
/* Inside a string or literal, where bytes that must follow are worth finding out. */
bool json_inside_scalar(const Tape *tape, uint32_t state);

/* Range of sorted[low … high) whose byte at `depth` is `byte`. */
void json_narrow(const char *const *sorted, const size_t *lengths, uint32_t *low, uint32_t *high, size_t depth,
                 unsigned char byte);

#endif
