/*
 * builtins.h - the names a template finds: filters, tests, global functions and the methods of values.
 */
#ifndef IMP_TEXT_TEMPLATE_BUILTINS_H
#define IMP_TEXT_TEMPLATE_BUILTINS_H

#include "text/template/value.h"

/* NULL when there is none of that name. */
const JinjaBuiltin *jinja_find_filter(const JinjaString *name);
const JinjaBuiltin *jinja_find_test(const JinjaString *name);
const JinjaBuiltin *jinja_find_global(const JinjaString *name);
const JinjaBuiltin *jinja_find_string_method(const JinjaString *name);
const JinjaBuiltin *jinja_find_list_method(const JinjaString *name);
const JinjaBuiltin *jinja_find_tuple_method(const JinjaString *name);
const JinjaBuiltin *jinja_find_dict_method(const JinjaString *name);
const JinjaBuiltin *jinja_find_range_method(const JinjaString *name);
const JinjaBuiltin *jinja_find_number_method(const JinjaString *name, JinjaKind kind);
const JinjaBuiltin *jinja_find_loop_method(const JinjaString *name);
const JinjaBuiltin *jinja_find_cycler_method(const JinjaString *name);

typedef struct JinjaBuiltinTable {
    const JinjaBuiltin *rows;
    size_t n;
} JinjaBuiltinTable;

/* The rows that each file contributes. */
extern const JinjaBuiltinTable jinja_text_filters, jinja_sequence_filters, jinja_number_filters, jinja_html_filters,
    jinja_wrap_filters;

const JinjaBuiltin *jinja_find_in(const JinjaBuiltinTable *table, const JinjaString *name);

/* Binds arguments to the parameters of `builtin` with CPython's messages and calls it. */
bool jinja_invoke(JinjaState *state, const JinjaBuiltin *builtin, const JinjaValue *self,
                  const JinjaArguments *arguments, JinjaValue *out);

/* ---- what filters, methods and operators share ---- */

/* value[name] with Jinja's rules: item first, then attribute, then undefined. */
bool jinja_get_item(JinjaState *state, const JinjaValue *object, const JinjaValue *argument, JinjaValue *out);
/* value.name: attribute first, then item, then undefined. */
bool jinja_get_attribute(JinjaState *state, const JinjaValue *object, const JinjaValue *name, JinjaValue *out);
/* Only the attribute; *found false without one. A forbidden one is an undefined value that fails when used. */
bool jinja_find_attribute(JinjaState *state, const JinjaValue *object, const JinjaValue *name, JinjaValue *out,
                          bool *found);
bool jinja_slice(JinjaState *state, const JinjaValue *object, const JinjaValue *start, const JinjaValue *stop,
                 const JinjaValue *step, JinjaValue *out);

bool jinja_add(JinjaState *state, const JinjaValue *a, const JinjaValue *b, JinjaValue *out);
bool jinja_modulo(JinjaState *state, const JinjaValue *a, const JinjaValue *b, JinjaValue *out);

/* "…" % arguments, "…".format(…) and one format specification. */
bool jinja_percent_format(JinjaState *state, const JinjaString *format, const JinjaValue *arguments, JinjaValue *out);
bool jinja_brace_format(JinjaState *state, const JinjaString *format, const JinjaArguments *arguments, JinjaValue *out);

/* json.dumps */
bool jinja_tojson(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, JinjaValue *out);
/* datetime.now().strftime(format) at `seconds` since 1970. */
bool jinja_strftime(JinjaState *state, const JinjaString *format, int64_t seconds, JinjaValue *out);
/* pprint.pformat */
bool jinja_pformat(JinjaState *state, const JinjaValue *value, JinjaValue *out);

/* str.lower, str.upper, HTML escaping (the result is markup) */
bool jinja_lower(JinjaState *state, const JinjaString *string, JinjaValue *out);
bool jinja_upper(JinjaState *state, const JinjaString *string, JinjaValue *out);
bool jinja_fold(JinjaState *state, const JinjaString *string, JinjaValue *out);
bool jinja_capitalize(JinjaState *state, const JinjaString *string, JinjaValue *out);
bool jinja_title(JinjaState *state, const JinjaString *string, JinjaValue *out);
bool jinja_swap_case(JinjaState *state, const JinjaString *string, JinjaValue *out);
void jinja_escape_into(JinjaState *state, StrBuf *text, const char *bytes, size_t length);
bool jinja_escape(JinjaState *state, const JinjaValue *value, JinjaValue *out);
/* str.strip(characters); characters JINJA_MISSING or none: white space. `sides`: 1 left, 2 right. */
bool jinja_strip(JinjaState *state, const JinjaString *string, const JinjaValue *characters, int sides,
                 JinjaValue *out);
bool jinja_replace(JinjaState *state, const JinjaString *string, const JinjaString *old, const JinjaString *with,
                   int64_t count, JinjaValue *out);
bool jinja_split_lines(JinjaState *state, const JinjaString *string, bool keep_ends, JinjaItems *out);
bool jinja_join(JinjaState *state, const JinjaString *separator, const JinjaValue *items, bool convert,
                JinjaValue *out);
/* The characters from `start` to `end`, both within the string. */
bool jinja_substring(JinjaState *state, JinjaString *string, size_t start, size_t end, JinjaValue *out);
/* Raises what Python says of a value without .items(). */
bool jinja_fail_items(JinjaState *state, const JinjaValue *value);
/* One filter or test by name, as map and select apply it. */
bool jinja_apply(JinjaState *state, bool is_test, const JinjaString *name, const JinjaValue *value,
                 const JinjaArguments *arguments, JinjaValue *out);

#endif
