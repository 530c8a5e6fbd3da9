/*
 * constraint.h - what a sequence may still say: JSON, JSON Schema, a regular expression or a GBNF grammar as a mask over
 * the vocabulary, so that the text always parses and always validates.
 *
 * A Constraint is compiled once, immutable, and shared by any number of states and threads. A ConstraintVocab is built once
 * a model and shared too. A ConstraintState belongs to one sequence and one thread at a time. A mask never leads into a dead
 * end: every prefix it permits has a completion (given a vocabulary that can spell every byte).
 */
#ifndef IMP_RUNTIME_CONSTRAINT_H
#define IMP_RUNTIME_CONSTRAINT_H

#include "core/status.h"
#include "core/strbuf.h"
#include "text/tokenizer/tokenizer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The vocabulary.
 */
typedef struct ConstraintToken {
    const char *bytes; /* what the token stands for inside running text */
    size_t length;     /* 0: special or unused, never part of constrained text */
} ConstraintToken;

typedef struct ConstraintVocab ConstraintVocab;

/* tokens: [n_tokens], copied. end_ids: [n_end_ids], allowed exactly where the text may end. */
ImpStatus constraint_vocab_create(const ConstraintToken *tokens, int32_t n_tokens, const int32_t *end_ids,
                                  int32_t n_end_ids, ConstraintVocab **out);
ImpStatus constraint_vocab_from_tokenizer(const Tokenizer *tokenizer, ConstraintVocab **out);
void constraint_vocab_free(ConstraintVocab *vocab);
int32_t constraint_vocab_size(const ConstraintVocab *vocab);

/*
 * Compiled constraints. Failures are IMP_ERR_FORMAT (not a schema, a pattern, a grammar), IMP_ERR_UNSUPPORTED (a keyword or
 * construct that cannot be enforced here) or IMP_ERR_LIMIT (too large); the sentence names the keyword and its JSON
 * pointer, or the position in the pattern or grammar. No keyword is ever ignored: what is not enforced does not compile.
 */
typedef struct Constraint Constraint;

/* Any JSON object (response_format json_object). */
ImpStatus constraint_compile_json_object(Constraint **out);
/* JSON Schema: draft 2020-12, 2019-09, 7, 6 or 4 as $schema says, otherwise 2020-12 with the older spellings understood.
 * Keys may come in any order, none twice; the usual spacing is allowed. The schema is not kept. */
ImpStatus constraint_compile_schema(const json_t *schema, Constraint **out);
ImpStatus constraint_compile_schema_text(const char *text, size_t length, Constraint **out);
/* The whole text matches `pattern` (anchors ^ and $ are understood and redundant). */
ImpStatus constraint_compile_regex(const char *pattern, size_t length, Constraint **out);
/* GBNF as llama.cpp documents it; `root` is the start. */
ImpStatus constraint_compile_grammar(const char *grammar, size_t length, Constraint **out);
void constraint_free(Constraint *constraint);

/*
 * The state of one sequence.
 */
typedef struct ConstraintState ConstraintState;

/* At the start of the text. The constraint and the vocabulary must outlive the state. */
ImpStatus constraint_state_create(const Constraint *constraint, ConstraintVocab *vocab, ConstraintState **out);
ImpStatus constraint_state_copy(const ConstraintState *state, ConstraintState **out);
void constraint_state_free(ConstraintState *state);

/* Writes one bit a token (word id / 32, bit id % 32; n_vocab rounded up to words): set when the token may come next. End
 * tokens are set exactly when the text so far is complete. Masks of states met before come from a cache in the vocabulary. */
ImpStatus constraint_mask(ConstraintState *state, uint32_t *bits);

/* Appends a token to the text. An end token is accepted when the text is complete. False when the token is not allowed:
 * the state is then unchanged. Needs no mask before. */
bool constraint_advance(ConstraintState *state, int32_t token);
/* Takes back the last `n_tokens` accepted tokens (as many as there are, when there are fewer). */
void constraint_rollback(ConstraintState *state, size_t n_tokens);
/* Accepted tokens so far. */
size_t constraint_length(const ConstraintState *state);

/* The text so far is complete: an end token is allowed. */
bool constraint_complete(const ConstraintState *state);
/* Complete, and no token but an end token is allowed (spacing after a JSON value aside). */
bool constraint_finished(ConstraintState *state);

/* The bytes that must come next when only one continuation exists (spelling a character of a JSON string with an escape
 * is not another continuation). Returns how many were stored, at most `capacity`; stops before the text could end. */
size_t constraint_forced_bytes(ConstraintState *state, char *bytes, size_t capacity);
/* The same as tokens: the fewest that spell those bytes, taken longest first, without the last where a longer token could stand in
 * its place ("} for "): which of them is the model's choice. Advances nothing. */
size_t constraint_forced_tokens(ConstraintState *state, int32_t *tokens, size_t capacity);

/*
 * Looking inside: one line {"schema"|"regex"|"grammar"|"json": …, "text": …} gives one line
 * {"accepted": …, "at": byte, "error": …, "compile_ms": …, "mask_us": [p50, p99, max]} (without newline), walking the text
 * token by token through the masks; times are the thread's processor time. `tokenizer` NULL: the longest tokens of the vocabulary are taken. `at` is the byte at
 * which the text was refused, its length when it was not. A line that cannot be read gives an "error" too; only want of
 * memory is a failure.
 */
ImpStatus constraint_check_line(const Tokenizer *tokenizer, ConstraintVocab *vocab, const char *line, size_t length,
                                StrBuf *out);

#endif
