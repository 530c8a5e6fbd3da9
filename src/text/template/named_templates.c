/*
 * named_templates.c - prompt formats that can be asked for by name, for models whose files bring no template.
 *
 * Each begins with a macro that turns content into text: a string, or the text parts of a list. A format's own first
 * token is written when the caller names none (bos_token).
 */
#include "text/template/chat_template.h"

#include <string.h>

/* {{ text(content) }} */
#define TEXT_MACRO                                                                                                     \
    "{%- macro text(content) -%}"                                                                                      \
    "{%- if content is string -%}{{ content }}"                                                                        \
    "{%- elif content is iterable -%}"                                                                                 \
    "{%- for part in content -%}{{ part if part is string else part.text }}{%- endfor -%}"                             \
    "{%- endif -%}{%- endmacro -%}"

/* Takes a leading system message out of the list: `system` is its text or "", `turns` the rest. */
#define SPLIT_SYSTEM                                                                                                   \
    "{%- set system = '' -%}{%- set turns = messages -%}"                                                              \
    "{%- if messages and messages[0].role == 'system' -%}"                                                             \
    "{%- set system = text(messages[0].content)|trim -%}{%- set turns = messages[1:] -%}{%- endif -%}"

static const struct {
    const char *name, *source;
} templates[] = {
    {"chatml", TEXT_MACRO "{%- for message in messages -%}"
                          "{{ '<|im_start|>' ~ message.role ~ '\n' ~ text(message.content) ~ '<|im_end|>\n' }}"
                          "{%- endfor -%}"
                          "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"},
    {"llama2", TEXT_MACRO SPLIT_SYSTEM
     "{%- for message in turns -%}"
     "{%- if message.role == 'assistant' -%}"
     "{{ ' ' ~ text(message.content)|trim ~ ' ' ~ (eos_token or '</s>') }}"
     "{%- else -%}"
     "{{ (bos_token or '<s>') ~ '[INST] ' }}"
     "{%- if loop.first and system -%}{{ '<<SYS>>\n' ~ system ~ '\n<</SYS>>\n\n' }}{%- endif -%}"
     "{{ text(message.content)|trim ~ ' [/INST]' }}"
     "{%- endif -%}"
     "{%- endfor -%}"},
    {"llama3", TEXT_MACRO
     "{{ bos_token or '<|begin_of_text|>' }}"
     "{%- for message in messages -%}"
     "{{ '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' ~ text(message.content)|trim ~ '<|eot_id|>' }}"
     "{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif -%}"},
    {"nemotron",
     TEXT_MACRO SPLIT_SYSTEM "{{ '<extra_id_0>System\n' ~ system ~ '\n\n' }}"
                             "{%- for message in turns -%}"
                             "{{ '<extra_id_1>' ~ message.role|capitalize ~ '\n' ~ text(message.content)|trim ~ '\n' }}"
                             "{%- endfor -%}"
                             "{%- if add_generation_prompt -%}{{ '<extra_id_1>Assistant\n' }}{%- endif -%}"},
    {"gemma", TEXT_MACRO SPLIT_SYSTEM
     "{{ bos_token or '<bos>' }}"
     "{%- for message in turns -%}"
     "{{ '<start_of_turn>' ~ ('model' if message.role == 'assistant' else message.role) ~ '\n' }}"
     "{%- if loop.first and system -%}{{ system ~ '\n\n' }}{%- endif -%}"
     "{{ text(message.content)|trim ~ '<end_of_turn>\n' }}"
     "{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"},
    {"deepseek_r1", TEXT_MACRO SPLIT_SYSTEM
     "{{ (bos_token or '<｜begin▁of▁sentence｜>') ~ system }}"
     "{%- for message in turns -%}"
     "{%- if message.role == 'assistant' -%}"
     "{{ '<｜Assistant｜>' ~ text(message.content).split('</think>')[-1] ~ '<｜end▁of▁sentence｜>' }}"
     "{%- else -%}{{ '<｜User｜>' ~ text(message.content) }}{%- endif -%}"
     "{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{ '<｜Assistant｜><think>\n' }}{%- endif -%}"},
    {"phi", TEXT_MACRO "{%- for message in messages -%}"
                       "{{ '<|' ~ message.role ~ '|>\n' ~ text(message.content) ~ '<|end|>\n' }}"
                       "{%- endfor -%}"
                       "{%- if add_generation_prompt -%}{{ '<|assistant|>\n' }}{%- endif -%}"},
};

const char *chat_template_named(const char *name)
{
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        if (strcmp(templates[i].name, name) == 0) return templates[i].source;
    }
    return NULL;
}

const char *chat_template_name_at(size_t index)
{
    return index < sizeof templates / sizeof *templates ? templates[index].name : NULL;
}
