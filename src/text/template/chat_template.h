/*
 * chat_template.h - Jinja chat templates, rendered byte for byte as Jinja2 3.1 does under transformers' settings.
 *
 * A compiled template is immutable and may be rendered by many threads at once.
 */
#ifndef IMP_TEXT_CHAT_TEMPLATE_H
#define IMP_TEXT_CHAT_TEMPLATE_H

#include "core/status.h"
#include "core/strbuf.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ChatTemplate ChatTemplate;
/* The variables of renderings by one template: messages, tools, add_generation_prompt, bos_token, … They may be
 * rendered any number of times, by one thread at a time, and are freed before their template. */
typedef struct TemplateValues TemplateValues;

/* Bounds on one rendering; chat_template_default_limits() for the usual ones. 0 means no bound. */
typedef struct TemplateLimits {
    uint64_t steps; /* evaluated nodes */
    uint32_t depth; /* nested calls and recursion */
    size_t output_bytes;
    size_t memory_bytes; /* values alive during the rendering */
    int64_t now;         /* seconds since 1970 for strftime_now; 0: the clock */
} TemplateLimits;

TemplateLimits chat_template_default_limits(void);

/* Compiles `length` bytes of template. On failure the sentence names the line. */
ImpStatus chat_template_compile(const char *source, size_t length, ChatTemplate **out);
void chat_template_free(ChatTemplate *chat_template);

/* Reads the variables out of a JSON object. As Python's json.loads reads it (integers may have 4300 digits, the last of
 * equal keys counts), but NaN, infinities and halves of surrogate pairs are refused; nested 2048 deep at most. `json`
 * is borrowed until the values are freed. A failure's sentence names line and column. */
ImpStatus template_values_read(const ChatTemplate *chat_template, const char *json, size_t length,
                               TemplateValues **out);
/* Sets a variable that has no value yet, from JSON of any type; `json` is copied. */
ImpStatus template_values_default(TemplateValues *values, const char *name, const char *json, size_t length);
void template_values_free(TemplateValues *values);

/* Renders the values by their template and appends to `out`. raise_exception and type errors give IMP_ERR_FORMAT with
 * Jinja2's message and the line; a bound that was reached gives IMP_ERR_LIMIT. */
ImpStatus chat_template_render(TemplateValues *values, const TemplateLimits *limits, StrBuf *out);

/* The source of a named template: chatml, llama2, llama3, nemotron, gemma, deepseek_r1, phi; NULL for another name. */
const char *chat_template_named(const char *name);
/* Names of the table in order, for help texts; NULL past the end. */
const char *chat_template_name_at(size_t index);

#endif
