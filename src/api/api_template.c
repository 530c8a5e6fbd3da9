/*
 * api_template.c - conversations become prompts: the variables that a template sees, and which template it is.
 */
#include "api/api.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *imp_template_name(size_t index) { return chat_template_name_at(index); }
const char *imp_model_template(ImpModel model) { return model ? model->template_source : NULL; }

void imp_reasoning_tags(const char *template_source, const char **open, const char **close)
{
    const char *tags[2];
    reasoning_tags(template_source, &tags[0], &tags[1]);
    if (open) *open = tags[0];
    if (close) *close = tags[1];
}

/* ---- Which template ---- */

/* The model's, compiled once. */
static ImpStatus own_template(ImpModel model, const ChatTemplate **out)
{
    ImpStatus status = IMP_OK;
    if (!model || !model->template_source)
        return imp_fail(IMP_ERR_UNSUPPORTED, "%s%sthere is no chat template: name one or give its source",
                        model ? model_file_path(model->file) : "", model ? ": " : "");
    (void)pthread_mutex_lock(&model->lock);
    if (!model->chat_template)
        status = chat_template_compile(model->template_source, strlen(model->template_source), &model->chat_template);
    *out = model->chat_template;
    (void)pthread_mutex_unlock(&model->lock);
    if (status != IMP_OK) return imp_fail_prefix(status, "%s: chat template", model_file_path(model->file));
    return IMP_OK;
}

/* `source` is a name when it looks like one: a mistyped name is no template that says just that. */
static ImpStatus compile_source(const char *source, ChatTemplate **out)
{
    const char *named = chat_template_named(source);
    if (!named && source[0] != '\0' && !strpbrk(source, "{}\n"))
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "there is no chat template named '%.64s'", source);
    const char *text = named ? named : source;
    return chat_template_compile(text, strlen(text), out);
}

/* The template of a rendering and its variables. `compiled` is freed with them, `chat_template` may be the model's. */
typedef struct Prompt {
    const ChatTemplate *chat_template;
    ChatTemplate *compiled;
    TemplateValues *values;
} Prompt;

static void prompt_free(Prompt *prompt)
{
    template_values_free(prompt->values);
    chat_template_free(prompt->compiled);
}

/* ---- Variables ---- */

static ImpStatus set_default(Prompt *prompt, const char *name, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    if (!text) return imp_fail(IMP_ERR_OUT_OF_MEMORY, "out of memory for the template's variable %s", name);
    const ImpStatus status = template_values_default(prompt->values, name, text, strlen(text));
    free(text);
    return status;
}

/* A token that is no UTF-8 is no variable. */
static ImpStatus set_token(ImpModel model, Prompt *prompt, const char *name, int32_t token)
{
    size_t length;
    const char *text = imp_token_text(model, token, &length);
    json_t *value = text ? json_stringn(text, length) : NULL;
    const ImpStatus status = value ? set_default(prompt, name, value) : IMP_OK;
    json_decref(value);
    return status;
}

/* The template's variables out of `text`, then the model's own tokens where the caller has not set them. */
static ImpStatus prepare(ImpModel model, const char *source, const char *text, const char *what, Prompt *prompt)
{
    *prompt = (Prompt){0};
    if (source) {
        IMP_TRY(compile_source(source, &prompt->compiled));
        prompt->chat_template = prompt->compiled;
    } else {
        IMP_TRY(own_template(model, &prompt->chat_template));
    }
    if (!text) text = "{}";
    const ImpStatus status = template_values_read(prompt->chat_template, text, strlen(text), &prompt->values);
    if (status != IMP_OK) return imp_fail_prefix(status, "%s", what);
    if (!model || !model->tokenizer) return IMP_OK;
    IMP_TRY(set_token(model, prompt, "bos_token", tokenizer_bos(model->tokenizer)));
    return set_token(model, prompt, "eos_token", tokenizer_eos(model->tokenizer));
}

static ImpStatus list_messages(const ImpMessage *messages, size_t n_messages, json_t *list)
{
    for (size_t i = 0; i < n_messages; i++) {
        if (!messages[i].role || !messages[i].content)
            return imp_fail(IMP_ERR_INVALID_ARGUMENT, "message %zu has no role or no content", i + 1);
        json_t *message = json_pack("{s:s, s:s}", "role", messages[i].role, "content", messages[i].content);
        if (!message) return imp_fail(IMP_ERR_INVALID_ARGUMENT, "message %zu is not valid UTF-8", i + 1);
        if (json_array_append_new(list, message) != 0) return imp_fail_memory(sizeof *message);
    }
    return IMP_OK;
}

/* What transformers sets, where the caller has not. */
static ImpStatus set_conversation(Prompt *prompt, const ImpMessage *messages, size_t n_messages)
{
    if (n_messages > 0 && !messages)
        return imp_fail(IMP_ERR_INVALID_ARGUMENT, "messages is NULL, but there are to be %zu", n_messages);
    json_t *list = json_array();
    ImpStatus status;
    if (!list) return imp_fail_memory(sizeof *list);
    IMP_GOTO(list_messages(messages, n_messages, list));
    IMP_GOTO(set_default(prompt, "messages", list));
    IMP_GOTO(set_default(prompt, "add_generation_prompt", json_true()));
    IMP_GOTO(set_default(prompt, "tools", json_null()));
    status = set_default(prompt, "documents", json_null());
fail:
    json_decref(list);
    return status;
}

/* ---- Rendering ---- */

static ImpStatus render(Prompt *prompt, StrBuf *out)
{
    const TemplateLimits limits = chat_template_default_limits();
    IMP_TRY(chat_template_render(prompt->values, &limits, out));
    return strbuf_check(out);
}

ImpStatus api_render_chat(ImpModel model, const ImpMessage *messages, size_t n_messages,
                          const ImpGenerateParams *params, StrBuf *out)
{
    Prompt prompt;
    ImpStatus status;
    IMP_GOTO(prepare(model, params->chat_template, params->template_variables, "template_variables", &prompt));
    IMP_GOTO(set_conversation(&prompt, messages, n_messages));
    status = render(&prompt, out);
fail:
    prompt_free(&prompt);
    return status;
}

ImpStatus imp_chat_render(ImpModel model, const ImpMessage *messages, size_t n_messages,
                          const ImpGenerateParams *params, char *buffer, size_t size, size_t *length)
{
    ImpGenerateParams full;
    StrBuf text = {0};
    ImpStatus status;
    if (length) *length = 0;
    API_REQUIRE(model);
    IMP_TRY(api_read_params(params, &full));
    IMP_GOTO(api_render_chat(model, messages, n_messages, &full, &text));
    status = api_copy_text(text.data, text.length, buffer, size, length);
fail:
    strbuf_free(&text);
    return status;
}

ImpStatus imp_template_render(ImpModel model, const char *source, const char *json, char *buffer, size_t size,
                              size_t *length)
{
    Prompt prompt;
    StrBuf text = {0};
    ImpStatus status;
    if (length) *length = 0;
    IMP_GOTO(prepare(model, source, json, "the template's variables", &prompt));
    IMP_GOTO(render(&prompt, &text));
    status = api_copy_text(text.data, text.length, buffer, size, length);
fail:
    prompt_free(&prompt);
    strbuf_free(&text);
    return status;
}
