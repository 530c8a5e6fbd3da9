/*
 * regex.c - PCRE2 behind the translated pattern.
 *
 * Matching uses PCRE2's machine code where it can. When a long text needs more stack than the machine code may have,
 * the interpreter, which keeps its state on the heap, takes over for that one search. Both count their steps, so that a
 * pattern with exponential backtracking ends in an error and not in a hang.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer/regex.h"

#include "text/tokenizer/regex_translate.h"

#include <pcre2.h>
#include <stdlib.h>

enum { STACK_START = 32 << 10, STACK_MAX = 16 << 20, HEAP_KIB = 512 << 10, MAX_STEPS = 20000000 };

struct Regex {
    pcre2_code *code;
};

struct RegexScratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

void regex_scratch_free(RegexScratch *scratch)
{
    if (scratch == NULL) return;
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    free(scratch);
}

static ImpStatus create_scratch(RegexScratch **out)
{
    RegexScratch *scratch = calloc(1, sizeof *scratch);
    if (scratch != NULL) {
        scratch->match = pcre2_match_data_create(1, NULL);
        scratch->context = pcre2_match_context_create(NULL);
        scratch->stack =
            pcre2_jit_stack_create(STACK_START, STACK_MAX, NULL); /* NULL without JIT: the interpreter serves */
    }
    if (scratch == NULL || scratch->match == NULL || scratch->context == NULL) {
        regex_scratch_free(scratch);
        return imp_fail_memory(STACK_START);
    }
    pcre2_set_match_limit(scratch->context, MAX_STEPS);
    pcre2_set_heap_limit(scratch->context, HEAP_KIB);
    if (scratch->stack != NULL) pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    *out = scratch;
    return IMP_OK;
}

static ImpStatus compile(const StrBuf *pattern, Regex **out)
{
    Regex *regex = calloc(1, sizeof *regex);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (regex == NULL || context == NULL) {
        free(regex);
        pcre2_compile_context_free(context);
        return imp_fail_memory(sizeof *regex);
    }
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int error;
    PCRE2_SIZE offset;
    regex->code =
        pcre2_compile((PCRE2_SPTR)pattern->data, pattern->length,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (regex->code == NULL) {
        PCRE2_UCHAR message[120];
        (void)pcre2_get_error_message(error, message, sizeof message);
        free(regex);
        return imp_fail(IMP_ERR_FORMAT, "%s", (const char *)message);
    }
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    *out = regex;
    return IMP_OK;
}

ImpStatus regex_compile(PatternCompiler *compiler, const char *source, size_t length, Regex **out)
{
    StrBuf pattern = {0};
    ImpStatus status = regex_translate(&compiler->categories, source, length, &pattern);
    if (status == IMP_OK) status = compile(&pattern, out);
    strbuf_free(&pattern);
    if (status == IMP_OK) return IMP_OK;
    return imp_fail_prefix(status, "pattern \"%.*s\"", (int)(length < 200 ? length : 200), source);
}

void regex_free(Regex *regex)
{
    if (regex == NULL) return;
    pcre2_code_free(regex->code);
    free(regex);
}

ImpStatus regex_search(const Regex *regex, RegexScratch **scratch, const char *text, size_t length, size_t from,
                       bool *found, size_t *start, size_t *end)
{
    if (*scratch == NULL) IMP_TRY(create_scratch(scratch));
    const PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int count =
        pcre2_match(regex->code, subject, length, from, PCRE2_NO_UTF_CHECK, (*scratch)->match, (*scratch)->context);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
        count = pcre2_match(regex->code, subject, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, (*scratch)->match,
                            (*scratch)->context);
    }
    *found = false;
    if (count == PCRE2_ERROR_NOMATCH) return IMP_OK;
    if (count < 0) {
        PCRE2_UCHAR message[120];
        (void)pcre2_get_error_message(count, message, sizeof message);
        return imp_fail(IMP_ERR_LIMIT, "a pre-tokenizer pattern gave up: %s", (const char *)message);
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer((*scratch)->match);
    *found = true;
    *start = span[0];
    *end = span[1] < span[0] ? span[0] : span[1];
    return IMP_OK;
}
