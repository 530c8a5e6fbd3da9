/*
 * named_templates.c - prompt formats that can be asked for by name, for models whose files bring no template.
 */
#include "text/template/chat_template.h"

#include <string.h>

static const struct {
    const char *name, *source;
} templates[] = {
    {"chatml", "{% for message in messages %}"
               "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
               "{% endfor %}"
               "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"},
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
