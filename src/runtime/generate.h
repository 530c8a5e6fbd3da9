/*
 * generate.h - one sequence on a runner: a text is computed, continued token by token, and cut where it must end.
 *
 * A Session remembers the tokens that its sequence holds, so that a text which begins like the last one costs only what
 * is new. Text, tokens and numbers of the last generation stay readable until the next one.
 */
#ifndef IMP_RUNTIME_GENERATE_H
#define IMP_RUNTIME_GENERATE_H

#include "imp/types.h"
#include "runtime/guide.h"
#include "runtime/reasoning.h"
#include "runtime/runner.h"
#include "runtime/sampler.h"
#include "text/tokenizer/tokenizer.h"

#include <stdatomic.h>

typedef struct Session Session;

typedef struct GenerateOptions {
    SamplerParams sampler;
    int32_t max_tokens; /* 0: no bound but the context */
    const char *const *stop;
    int32_t n_stop;
    const Constraint *constraint; /* what the text must be; NULL: anything */
    ReasoningRule reasoning;      /* not looked for where there is a constraint */
    ConstraintVocab *vocab;
    bool ignore_end, keep_special;
    ImpTextCallback *on_text; /* may be NULL */
    void *user;
} GenerateOptions;

typedef struct GenerateResult {
    int32_t prompt_tokens, reused_tokens, generated_tokens;
    int32_t forced_tokens; /* generated ones that a constraint left no choice about */
    ImpStopReason stop_reason;
    int32_t stop_index;
    double prompt_seconds, generate_seconds;
} GenerateResult;

/* Opens a sequence of the runner, which outlives the session, as does `tokenizer` (NULL: ids only). The logits that it
 * draws from end at the tokenizer's last id: rows of padding behind it are never drawn. */
ImpStatus session_create(Runner *runner, int32_t n_vocab, const Tokenizer *tokenizer, Session **out);
void session_free(Session *session);

/* Prompts report here; a set `cancel` (cleared when a call begins) ends a call with IMP_ERR_CANCELLED. */
void session_watch(Session *session, const Progress *progress);
atomic_bool *session_cancel_flag(Session *session);
/* For work that is done beside the session: reports it; false when it is to be cancelled. */
bool session_report(Session *session, uint64_t done, uint64_t total);

const int32_t *session_tokens(const Session *session, int32_t *n_tokens);
int32_t session_capacity(const Session *session);
int32_t session_sequence(const Session *session);
/* Forgets all but the first n_tokens, or everything where the model's state cannot go back; how many are left. */
int32_t session_truncate(Session *session, int32_t n_tokens);
/* Forgets everything, also what was fed to its sequence behind the session's back. */
void session_reset(Session *session);

/* Computes tokens behind those that are there. */
ImpStatus session_feed(Session *session, const int32_t *tokens, int32_t n_tokens);
/* Logits behind the last token: [n_vocab], to be changed at will; NULL when there are none. */
float *session_logits(Session *session);
/* Draws a token from these logits and computes it. The sampler is kept while the parameters stay the same. */
ImpStatus session_step(Session *session, const SamplerParams *params, int32_t *token);

/* Makes the session hold `tokens`, then continues until something ends it. The prompt must have a token and fit. */
ImpStatus session_generate(Session *session, const int32_t *tokens, int32_t n_tokens, const GenerateOptions *options);
/* What the last generation did, also when it failed on its way. */
const GenerateResult *session_result(const Session *session);
const char *session_text(const Session *session, size_t *length);
const int32_t *session_generated(const Session *session, int32_t *n_tokens);

#endif
