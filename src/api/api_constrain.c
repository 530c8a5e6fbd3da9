/* api_constrain.c - imp/constrain.h over the constraint room, and the vocabulary that a model's constraints share. */
#include "api/api.h"

#include "imp/constrain.h"

#include <stdlib.h>
#include <string.h>

struct ImpConstraintObject {
    Constraint *compiled;
};

static ImpStatus compile(ImpConstraintKind kind, const char *text, size_t length, Constraint **out)
{
    switch (kind) {
    case IMP_CONSTRAINT_JSON:
        return constraint_compile_json_object(out);
    case IMP_CONSTRAINT_SCHEMA:
        return constraint_compile_schema_text(text, length, out);
    case IMP_CONSTRAINT_REGEX:
        return constraint_compile_regex(text, length, out);
    case IMP_CONSTRAINT_GRAMMAR:
        return constraint_compile_grammar(text, length, out);
    }
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no kind of constraint with the number %d", (int)kind);
}

ImpStatus imp_constraint_compile(ImpConstraintKind kind, const char *text, size_t length, ImpConstraint *constraint)
{
    API_REQUIRE(constraint);
    *constraint = NULL;
    if (kind != IMP_CONSTRAINT_JSON) API_REQUIRE(text);
    if (text && length == IMP_NUL_TERMINATED) length = strlen(text);
    ImpConstraint created = calloc(1, sizeof *created);
    if (!created) return imp_fail_memory(sizeof *created);
    const ImpStatus status = compile(kind, text, length, &created->compiled);
    if (status != IMP_OK) {
        free(created);
        return status;
    }
    *constraint = created;
    return IMP_OK;
}

ImpStatus api_constraint_wrap(Constraint *compiled, ImpConstraint *constraint)
{
    *constraint = calloc(1, sizeof **constraint);
    if (!*constraint) return imp_fail_memory(sizeof **constraint);
    (*constraint)->compiled = compiled;
    return IMP_OK;
}

void imp_constraint_free(ImpConstraint constraint)
{
    if (!constraint) return;
    constraint_free(constraint->compiled);
    free(constraint);
}

/* Built at its first use. */
static ImpStatus model_vocab(ImpModel model, ConstraintVocab **out)
{
    ImpStatus status = IMP_OK;
    IMP_TRY(api_need_tokenizer(model));
    (void)pthread_mutex_lock(&model->lock);
    if (!model->constraint_vocab) status = constraint_vocab_from_tokenizer(model->tokenizer, &model->constraint_vocab);
    *out = model->constraint_vocab;
    (void)pthread_mutex_unlock(&model->lock);
    return status;
}

ImpStatus api_constraint(ImpModel model, const ImpGenerateParams *params, const Constraint **constraint, ConstraintVocab **vocab)
{
    *constraint = NULL;
    *vocab = NULL;
    if (!params->constraint) return IMP_OK;
    *constraint = params->constraint->compiled;
    return model_vocab(model, vocab);
}

ImpStatus imp_constraint_check(ImpModel model, const char *line, size_t line_length, char *buffer, size_t size,
                               size_t *length)
{
    ConstraintVocab *vocab;
    StrBuf text = {0};
    ImpStatus status;
    if (length) *length = 0;
    API_REQUIRE(model);
    API_REQUIRE(line);
    IMP_TRY(model_vocab(model, &vocab));
    IMP_GOTO(constraint_check_line(model->tokenizer, vocab, line,
                                   line_length == IMP_NUL_TERMINATED ? strlen(line) : line_length, &text));
    IMP_GOTO(strbuf_check(&text));
    status = api_copy_text(text.data, text.length, buffer, size, length);
fail:
    strbuf_free(&text);
    return status;
}
