/*
 * check.c - constraint_check_line(): a schema and a text in, what became of the text and how long its masks took out.
 */
#include "core/clock.h"
#include "runtime/constraint/constraint_parts.h"
#include "runtime/constraint/json_value.h"
#include "runtime/constraint/vocab.h"

#include <stdlib.h>
#include <string.h>

typedef struct CheckRun {
    const Tokenizer *tokenizer;
    ConstraintVocab *vocab;
    const char *text;
    size_t length;
    TokenList tokens;
    double *times; /* [tokens.count + 1] seconds of each mask */
    size_t n_times;
    bool accepted;
    size_t at;
} CheckRun;

/* The member of the line that is the constraint. */
static ImpStatus find_constraint(const JsonValue *line, const JsonMember **out)
{
    static const char *const names[] = {"schema", "regex", "grammar", "json"};
    *out = NULL;
    for (size_t i = 0; i < line->count; i++) {
        const JsonMember *member = &line->as.members[i];
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            if (member->value->type == JSON_VALUE_NULL || strcmp(member->key, names[k]) != 0) continue;
            if (*out != NULL)
                return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the line has both \"%s\" and \"%s\"", (*out)->key, names[k]);
            *out = member;
        }
    }
    if (*out != NULL) return IMP_OK;
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the line has no \"schema\", \"regex\", \"grammar\" or \"json\"");
}

static ImpStatus compile_member(const JsonMember *member, Constraint **out)
{
    const JsonValue *value = member->value;
    const bool is_text = value->type == JSON_VALUE_STRING;
    if (member->key[0] == 's') {
        /* A schema as a string is its text. */
        return is_text ? constraint_compile_schema_text(value->as.string, value->count, out)
                       : constraint_compile_schema_text(member->text, member->text_length, out);
    }
    if (member->key[0] == 'j') {
        if (value->type == JSON_VALUE_TRUE) return constraint_compile_json_object(out);
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "\"json\" of the line is not true");
    }
    if (!is_text) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "\"%s\" of the line is not a string", member->key);
    if (member->key[0] == 'r') return constraint_compile_regex(value->as.string, value->count, out);
    return constraint_compile_grammar(value->as.string, value->count, out);
}

static ImpStatus read_line(CheckRun *run, Arena *arena, const char *text, size_t length, const JsonMember **constraint)
{
    const JsonValue *line = NULL;
    const ImpStatus status = json_value_parse(arena, text, length, &line);
    if (status != IMP_OK) return imp_fail_prefix(status, "the line");
    if (line->type != JSON_VALUE_OBJECT) return imp_fail(IMP_ERR_FORMAT, "the line is not a JSON object");
    const JsonValue *checked = json_value_get(line, "text");
    if (checked == NULL || checked->type != JSON_VALUE_STRING)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "the line has no \"text\"");
    run->text = checked->as.string;
    run->length = checked->count;
    return find_constraint(line, constraint);
}

/* The text as the longest tokens of the vocabulary. */
static ImpStatus spell(CheckRun *run)
{
    for (size_t at = 0; at < run->length;) {
        size_t length = 0;
        const int32_t token = vocab_longest(run->vocab, run->text + at, run->length - at);
        if (token < 0) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "no token spells byte %zu of the text", at);
        (void)vocab_token(run->vocab, token, &length);
        IMP_TRY(token_list_push(&run->tokens, token));
        at += length;
    }
    return IMP_OK;
}

/* The tokenizer's own tokens, if they spell the text byte by byte (a tokenizer may put a space before it). */
static ImpStatus split_text(CheckRun *run)
{
    if (run->tokenizer == NULL) return spell(run);
    IMP_TRY(tokenizer_encode(run->tokenizer, run->text, run->length, 0, &run->tokens));
    size_t at = 0;
    bool same = true;
    for (size_t i = 0; i < run->tokens.count && same; i++) {
        size_t length = 0;
        const char *bytes = vocab_token(run->vocab, run->tokens.ids[i], &length);
        same = length > 0 && length <= run->length - at && memcmp(run->text + at, bytes, length) == 0;
        at += length;
    }
    if (same && at == run->length) return IMP_OK;
    run->tokens.count = 0;
    return spell(run);
}

static ImpStatus timed_mask(CheckRun *run, ConstraintState *state, uint32_t *bits)
{
    const double start = clock_thread_seconds();
    IMP_TRY(constraint_mask(state, bits));
    run->times[run->n_times++] = clock_thread_seconds() - start;
    return IMP_OK;
}

/* Walks the tokens through the masks; every token that a mask allows must be accepted. */
static ImpStatus walk(CheckRun *run, ConstraintState *state, uint32_t *bits)
{
    for (size_t i = 0; i < run->tokens.count; i++) {
        const int32_t token = run->tokens.ids[i];
        size_t length = 0;
        IMP_TRY(timed_mask(run, state, bits));
        if ((bits[token / 32] >> token % 32 & 1) == 0) {
            run->at += constraint_refused_at(state, token);
            return IMP_OK;
        }
        if (!constraint_advance(state, token)) return imp_fail(IMP_ERR_INTERNAL, "a token of the mask was refused");
        (void)vocab_token(run->vocab, token, &length);
        run->at += length;
    }
    run->accepted = constraint_complete(state);
    return timed_mask(run, state, bits);
}

static ImpStatus check_text(CheckRun *run, const Constraint *constraint)
{
    ConstraintState *state = NULL;
    uint32_t *bits = malloc(run->vocab->words * sizeof *bits);
    ImpStatus status = bits == NULL ? imp_fail_memory(run->vocab->words * sizeof *bits) : split_text(run);
    if (status == IMP_OK) {
        run->times = malloc((run->tokens.count + 1) * sizeof *run->times);
        if (run->times == NULL) status = imp_fail_memory(run->tokens.count * sizeof *run->times);
    }
    if (status == IMP_OK) status = constraint_state_create(constraint, run->vocab, &state);
    if (status == IMP_OK) status = walk(run, state, bits);
    constraint_state_free(state);
    free(bits);
    return status;
}

static int compare_times(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return (a > b) - (a < b);
}

static double quantile_us(const CheckRun *run, double part)
{
    if (run->n_times == 0) return 0;
    return run->times[(size_t)((double)(run->n_times - 1) * part + 0.5)] * 1e6;
}

static ImpStatus report(CheckRun *run, bool failed, double compile_seconds, StrBuf *out)
{
    if (run->n_times > 0) qsort(run->times, run->n_times, sizeof *run->times, compare_times);
    json_t *result = json_pack("{s:b, s:I, s:o, s:f, s:[f,f,f]}", "accepted", run->accepted, "at", (json_int_t)run->at,
                               "error", failed ? json_string(imp_last_error()) : json_null(), "compile_ms",
                               compile_seconds * 1e3, "mask_us", quantile_us(run, 0.5), quantile_us(run, 0.99),
                               quantile_us(run, 1));
    char *text = result == NULL ? NULL : json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(result);
    if (text == NULL) return imp_fail_memory(256);
    strbuf_puts(out, text);
    free(text);
    return strbuf_check(out);
}

ImpStatus constraint_check_line(const Tokenizer *tokenizer, ConstraintVocab *vocab, const char *line, size_t length,
                                StrBuf *out)
{
    Arena arena = {0};
    Constraint *constraint = NULL;
    const JsonMember *member = NULL;
    CheckRun run = {.tokenizer = tokenizer, .vocab = vocab};
    double compile_seconds = 0;
    ImpStatus status = read_line(&run, &arena, line, length, &member);
    if (status == IMP_OK) {
        const double start = clock_thread_seconds();
        status = compile_member(member, &constraint);
        compile_seconds = clock_thread_seconds() - start;
    }
    if (status == IMP_OK) status = check_text(&run, constraint);
    if (status != IMP_ERR_OUT_OF_MEMORY) status = report(&run, status != IMP_OK, compile_seconds, out);
    constraint_free(constraint);
    arena_free(&arena);
    token_list_free(&run.tokens);
    free(run.times);
    return status;
}
