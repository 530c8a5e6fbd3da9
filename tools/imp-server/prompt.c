/* prompt.c - templates and tokens. */
#include "prompt.h"

#include "reasoning.h"

#include <stdlib.h>
#include <string.h>

void prompt_free(Prompt *prompt)
{
    free(prompt->tokens);
    free(prompt->text);
    *prompt = (Prompt){0};
}

static ImpStatus tokenize(Server *server, unsigned flags, Prompt *out)
{
    size_t count = 0, capacity = out->text_length / 2 + 16;
    for (int attempt = 0; attempt < 2; attempt++) {
        free(out->tokens);
        out->tokens = malloc(capacity * sizeof *out->tokens);
        if (out->tokens == NULL) return IMP_ERR_OUT_OF_MEMORY;
        const ImpStatus status =
            imp_tokenize(server->model, out->text, out->text_length, flags, out->tokens, capacity, &count);
        if (status == IMP_OK) {
            out->n_tokens = (int32_t)count;
            return IMP_OK;
        }
        if (status != IMP_ERR_BUFFER_TOO_SMALL) return status;
        capacity = count;
    }
    return IMP_ERR_INTERNAL;
}

ImpStatus prompt_from_text(Server *server, const char *text, size_t length, Prompt *out)
{
    *out = (Prompt){.text = malloc(length + 1), .text_length = length};
    if (out->text == NULL) return IMP_ERR_OUT_OF_MEMORY;
    memcpy(out->text, text, length);
    out->text[length] = '\0';
    return tokenize(server, IMP_TOKENIZE_ADD_SPECIAL | IMP_TOKENIZE_PARSE_SPECIAL, out);
}

void prompt_from_ids(Server *server, Fields *fields, const char *name, const json_t *ids, Prompt *out)
{
    const size_t count = json_array_size(ids);
    *out = (Prompt){.tokens = calloc(count > 0 ? count : 1, sizeof(int32_t)), .n_tokens = (int32_t)count};
    if (out->tokens == NULL) {
        out->n_tokens = 0;
        fields_fail(fields, name, "%s: out of memory", name);
    }
    for (size_t i = 0; out->tokens != NULL && i < count; i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= server->info.n_vocab) {
            fields_fail(fields, name, "%s: entry %zu is not a token id of this model", name, i);
            return;
        }
        out->tokens[i] = (int32_t)json_integer_value(id);
    }
}

ImpStatus prompt_from_chat(Server *server, const json_t *variables, Prompt *out)
{
    *out = (Prompt){0};
    char *json = json_dumps(variables, JSON_COMPACT);
    if (json == NULL) return IMP_ERR_OUT_OF_MEMORY;
    const char *source = server->defaults.chat_template;
    ImpStatus status = IMP_ERR_BUFFER_TOO_SMALL;
    size_t capacity = strlen(json) * 2 + 4096;
    for (int attempt = 0; attempt < 2 && status == IMP_ERR_BUFFER_TOO_SMALL; attempt++) {
        free(out->text);
        out->text = malloc(capacity);
        if (out->text == NULL) {
            status = IMP_ERR_OUT_OF_MEMORY;
            break;
        }
        status = imp_template_render(server->model, source, json, out->text, capacity, &out->text_length);
        capacity = out->text_length + 1;
    }
    free(json);
    if (status != IMP_OK) return status;
    out->is_chat = true;
    out->inside_reasoning = reasoning_prompt_is_open(&server->tags, out->text, out->text_length);
    return tokenize(server, IMP_TOKENIZE_PARSE_SPECIAL, out);
}
