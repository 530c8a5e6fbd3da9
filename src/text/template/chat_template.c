/*
 * chat_template.c - the room's door: compile a source once, render it with variables (read_json.c).
 */
#include "text/template/chat_template.h"
#include "text/template/ast.h"
#include "text/template/interpreter.h"
#include "text/template/unicode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { COMPILE_MEMORY = 512 * 1024 * 1024 };

TemplateLimits chat_template_default_limits(void)
{
    return (TemplateLimits){
        .steps = 100000000, .depth = 200, .output_bytes = (size_t)64 << 20, .memory_bytes = (size_t)256 << 20};
}

/* ---- compiling ---- */

bool jinja_compile_fail(JinjaCompiler *compiler, uint32_t line, const char *format, ...)
{
    if (compiler->status != IMP_OK) return false;
    char message[900];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    compiler->status = imp_fail(IMP_ERR_FORMAT, "template line %u: %s", line, message);
    return false;
}

void jinja_compile_fail_late(JinjaCompiler *compiler, JinjaLateStage stage, uint32_t line, const char *format, ...)
{
    if (compiler->late[stage].line != 0) return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(compiler->late[stage].message, sizeof compiler->late[stage].message, format, arguments);
    va_end(arguments);
    compiler->late[stage].line = line;
}

void *jinja_compile_alloc(JinjaCompiler *compiler, size_t count, size_t size)
{
    void *memory = arena_alloc(&compiler->chat_template->arena, count, size);
    if (memory == NULL && compiler->status == IMP_OK) {
        compiler->status = imp_fail(IMP_ERR_LIMIT, "the template is too large to compile");
    }
    return memory;
}

enum { MAX_INTERNED = 64 }; /* bytes; longer text is neither a key nor a role */

/* Where the text is in the table, or the free place for it. The table has room. */
static JinjaString **interned_place(const ChatTemplate *chat_template, uint64_t hash, const char *bytes, size_t length)
{
    size_t at = hash & (chat_template->interned_size - 1);
    for (;; at = (at + 1) & (chat_template->interned_size - 1)) {
        JinjaString **place = &chat_template->interned[at];
        if (*place == NULL) return place;
        if ((*place)->hash == hash && (*place)->length == length && memcmp((*place)->data, bytes, length) == 0)
            return place;
    }
}

JinjaString *jinja_find_interned(const ChatTemplate *chat_template, const char *bytes, size_t length)
{
    if (chat_template->interned_size == 0 || length > MAX_INTERNED) return NULL;
    return *interned_place(chat_template, jinja_string_hash(chat_template->seed, bytes, length), bytes, length);
}

static bool grow_interned(JinjaCompiler *compiler)
{
    ChatTemplate *chat_template = compiler->chat_template;
    JinjaString **old = chat_template->interned;
    const size_t old_size = chat_template->interned_size, size = old_size == 0 ? 256 : old_size * 2;
    JinjaString **table = jinja_compile_alloc(compiler, size, sizeof *table);
    if (table == NULL) return false;
    chat_template->interned = table;
    chat_template->interned_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i] != NULL) *interned_place(chat_template, old[i]->hash, old[i]->data, old[i]->length) = old[i];
    }
    return true;
}

JinjaString *jinja_compile_string(JinjaCompiler *compiler, const char *bytes, size_t length)
{
    ChatTemplate *chat_template = compiler->chat_template;
    const uint64_t hash = jinja_string_hash(chat_template->seed, bytes, length);
    const bool interned = length <= MAX_INTERNED;
    JinjaString **place = NULL;
    if (interned) {
        if (chat_template->n_interned * 2 >= chat_template->interned_size && !grow_interned(compiler)) return NULL;
        place = interned_place(chat_template, hash, bytes, length);
        if (*place != NULL) return *place;
    }
    JinjaString *string = jinja_compile_alloc(compiler, 1, sizeof *string);
    if (string == NULL) return NULL;
    *string = (JinjaString){
        .data = bytes, .length = length, .n_chars = unicode_count(bytes, length), .hash = hash, .interned = interned};
    if (interned) {
        *place = string;
        chat_template->n_interned++;
    }
    return string;
}

ImpStatus chat_template_compile(const char *source, size_t length, ChatTemplate **out)
{
    *out = NULL;
    if (length > JINJA_MAX_SOURCE) {
        return imp_fail(IMP_ERR_LIMIT, "the template has %zu bytes, more than %d", length, JINJA_MAX_SOURCE);
    }
    ChatTemplate *chat_template = calloc(1, sizeof *chat_template);
    if (chat_template == NULL) return imp_fail_memory(sizeof *chat_template);
    chat_template->arena.limit = COMPILE_MEMORY;
    /* The heap's address differs from run to run: nobody can prepare keys that collide. */
    chat_template->seed = (uint64_t)(uintptr_t)chat_template * 0x9E3779B97F4A7C15u | 1;
    JinjaCompiler compiler = {.chat_template = chat_template};
    if (!jinja_parse(&compiler, source, length) || !jinja_resolve(&compiler)) {
        chat_template_free(chat_template);
        return compiler.status == IMP_OK ? imp_fail(IMP_ERR_INTERNAL, "a template failed without a reason")
                                         : compiler.status;
    }
    *out = chat_template;
    return IMP_OK;
}

void chat_template_free(ChatTemplate *chat_template)
{
    if (chat_template == NULL) return;
    arena_free(&chat_template->arena);
    free(chat_template);
}

/* ---- rendering ---- */

static ImpStatus run(JinjaState *state)
{
    JinjaValue exported;
    if (state->chat_template->blocks.n > 0) {
        if (!jinja_dict(state, 0, &exported)) return state->status;
        state->exported = exported.dict;
    }
    if (!jinja_run(state) && state->status == IMP_OK)
        return imp_fail(IMP_ERR_INTERNAL, "a template failed without a reason");
    return state->status;
}

ImpStatus chat_template_render(TemplateValues *values, const TemplateLimits *limits, StrBuf *out)
{
    const JinjaState *read = jinja_values_state(values);
    JinjaState *state = calloc(1, sizeof *state);
    if (state == NULL) return imp_fail_memory(sizeof *state);
    state->chat_template = read->chat_template;
    state->limits = limits != NULL ? *limits : chat_template_default_limits();
    state->seed = read->seed;
    state->variables = read->variables;
    state->memory_used = read->memory_used;
    state->free_start = read->free_start; /* what the values have not used; it is unused again afterwards */
    state->free_end = read->free_end;
    state->steps_left = state->limits.steps != 0 ? state->limits.steps : UINT64_MAX;
    state->line = 1;
    state->out = out;
    const size_t before = out->length;
    if (!strbuf_reserve(out, 0)) {
        free(state);
        return imp_fail_memory(before);
    }
    /* What the caller had is not counted. */
    if (state->limits.output_bytes != 0) state->limits.output_bytes += before;
    const ImpStatus status = run(state);
    if (status != IMP_OK && out->length > before) {
        out->length = before;
        out->data[before] = '\0';
    }
    for (size_t i = 0; state->captures != NULL && i < JINJA_MAX_CAPTURES && state->captures[i] != NULL; i++) {
        strbuf_free(state->captures[i]);
        free(state->captures[i]);
    }
    jinja_dicts_restore(state);
    jinja_free_memory(state);
    free(state);
    return status;
}
