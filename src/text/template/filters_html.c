/*
 * filters_html.c - filters for HTML and URLs. Chat templates rarely use them; they are here because Jinja2 has them.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/template/builtins.h"
#include "text/template/unicode.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#define FILTER(name)                                                                                                   \
    static bool name(JinjaState *state, const JinjaValue *value, const JinjaValue *arguments, JinjaValue *out)

FILTER(filter_escape)
{
    (void)arguments;
    return jinja_escape(state, value, out);
}

FILTER(filter_forceescape)
{
    (void)arguments;
    JinjaValue text, copy;
    if (!jinja_to_string(state, value, &text)) return false;
    if (!jinja_view(state, text.string->data, text.string->length, &copy)) return false;
    return jinja_escape(state, &copy, out);
}

FILTER(filter_safe)
{
    (void)arguments;
    JinjaValue text;
    if (!jinja_to_string(state, value, &text)) return false;
    if (!jinja_view(state, text.string->data, text.string->length, out)) return false;
    out->string->markup = true;
    return true;
}

/* ---- striptags ---- */

/* A character reference at `at` (an &): its text appended, the position behind it returned; NULL: not one we know. */
static const char *unescape(JinjaState *state, StrBuf *text, const char *at, const char *end)
{
    static const struct {
        const char *name;
        uint32_t c;
    } entities[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}, {"nbsp;", 0xA0},
                    {"amp", '&'},  {"lt", '<'},  {"gt", '>'},  {"quot", '"'},  {"nbsp", 0xA0}};
    const size_t left = (size_t)(end - at - 1);
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        const size_t n = strlen(entities[i].name);
        if (left < n || memcmp(at + 1, entities[i].name, n) != 0) continue;
        jinja_append_char(state, text, entities[i].c);
        return at + 1 + n;
    }
    if (left < 2 || at[1] != '#') return NULL;
    const bool hexadecimal = (at[2] | 0x20) == 'x';
    const char *digit = at + 2 + hexadecimal;
    uint32_t c = 0;
    const char *start = digit;
    for (; digit < end && digit - start < 8; digit++) {
        const int value = *digit >= '0' && *digit <= '9'                                    ? *digit - '0'
                          : hexadecimal && (*digit | 0x20) >= 'a' && (*digit | 0x20) <= 'f' ? (*digit | 0x20) - 'a' + 10
                                                                                            : -1;
        if (value < 0) break;
        c = c * (hexadecimal ? 16 : 10) + (uint32_t)value;
    }
    if (digit == start) return NULL;
    jinja_append_char(state, text, c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? 0xFFFD : c);
    return digit < end && *digit == ';' ? digit + 1 : digit;
}

/* Comments and tags cut out. */
static void cut_tags(JinjaState *state, StrBuf *text, const char *at, const char *end)
{
    while (at < end && state->status == IMP_OK) {
        const char *open = memchr(at, '<', (size_t)(end - at));
        const char *plain_end = open == NULL ? end : open;
        jinja_append(state, text, at, (size_t)(plain_end - at));
        at = plain_end;
        if (open == NULL) return;
        const bool comment = end - open >= 4 && memcmp(open, "<!--", 4) == 0;
        const char *close =
            comment ? memmem(open, (size_t)(end - open), "-->", 3) : memchr(open, '>', (size_t)(end - open));
        if (close == NULL) {
            jinja_append(state, text, at, (size_t)(end - at));
            return;
        }
        at = close + (comment ? 3 : 1);
    }
}

FILTER(filter_striptags)
{
    (void)arguments;
    JinjaValue source, cut, words, joined;
    const JinjaString split = {.data = "split", .length = 5}, space = {.data = " ", .length = 1};
    const JinjaArguments none = {0};
    if (!jinja_to_string(state, value, &source)) return false;
    StrBuf *text = jinja_charge_bytes(state, source.string->length) ? jinja_capture(state) : NULL;
    if (text == NULL) return false;
    cut_tags(state, text, source.string->data, source.string->data + source.string->length);
    if (!jinja_capture_finish(state, text, &cut)) return false;
    if (!jinja_invoke(state, jinja_find_string_method(&split), &cut, &none, &words)) return false;
    if (!jinja_join(state, &space, &words, true, &joined)) return false;
    text = jinja_capture(state);
    if (text == NULL) return false;
    const char *at = joined.string->data, *end = at + joined.string->length;
    while (at < end && state->status == IMP_OK) {
        const char *next = *at == '&' ? unescape(state, text, at, end) : NULL;
        if (next == NULL) {
            jinja_append(state, text, at, 1);
            next = at + 1;
        }
        at = next;
    }
    return jinja_capture_finish(state, text, out);
}

/* ---- xmlattr ---- */

FILTER(filter_xmlattr)
{
    if (value->kind != JINJA_DICT) return jinja_fail_items(state, value);
    const bool autospace = arguments[0].kind == JINJA_MISSING || jinja_truthy(state, &arguments[0]);
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    for (size_t i = 0; i < value->dict->n && state->status == IMP_OK; i++) {
        const JinjaEntry *entry = &value->dict->entries[i];
        JinjaValue escaped;
        if (entry->value.kind == JINJA_NONE || entry->value.kind == JINJA_UNDEFINED) continue;
        if (entry->key.kind != JINJA_STRING) {
            return jinja_raise(state, "expected string or bytes-like object, got '%s'", jinja_type_name(&entry->key));
        }
        for (size_t j = 0; j < entry->key.string->length; j++) {
            const char c = entry->key.string->data[j];
            if (c != '\0' && memchr(" \t\n\r\f\v/>=", c, 9) != NULL) {
                return jinja_raise(state, "Invalid character in attribute name: %s",
                                   jinja_repr_text(state, &entry->key));
            }
        }
        if (autospace || text->length > 0) jinja_append(state, text, " ", 1);
        if (!jinja_escape(state, &entry->key, &escaped)) return false;
        jinja_str(state, text, &escaped);
        jinja_append(state, text, "=\"", 2);
        if (!jinja_escape(state, &entry->value, &escaped)) return false;
        jinja_str(state, text, &escaped);
        jinja_append(state, text, "\"", 1);
    }
    return jinja_capture_finish(state, text, out);
}

/* ---- urlencode ---- */

static void quote(JinjaState *state, StrBuf *text, const JinjaString *string, bool query)
{
    if (!jinja_charge_bytes(state, string->length)) return;
    for (size_t i = 0; i < string->length && state->status == IMP_OK; i++) {
        const unsigned char c = (unsigned char)string->data[i];
        const bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '.' ||
                           c == '-' || c == '~' || (c == '/' && !query);
        if (plain) {
            jinja_append(state, text, (const char *)&c, 1);
        } else if (c == ' ' && query) {
            jinja_append(state, text, "+", 1);
        } else {
            char escape[4];
            (void)snprintf(escape, sizeof escape, "%%%02X", c);
            jinja_append(state, text, escape, 3);
        }
    }
}

static bool quote_value(JinjaState *state, StrBuf *text, const JinjaValue *value, bool query)
{
    JinjaValue string;
    if (!jinja_to_string(state, value, &string)) return false;
    quote(state, text, string.string, query);
    return state->status == IMP_OK;
}

FILTER(filter_urlencode)
{
    (void)arguments;
    JinjaItems pairs, pair;
    StrBuf *text;
    if (value->kind == JINJA_STRING || !jinja_is_iterable(value)) {
        text = jinja_capture(state);
        return text != NULL && quote_value(state, text, value, false) && jinja_capture_finish(state, text, out);
    }
    JinjaView view = {.dict = value->kind == JINJA_DICT ? value->dict : NULL, .part = JINJA_ITEMS};
    const JinjaValue items = view.dict == NULL ? *value : (JinjaValue){.kind = JINJA_VIEW, .view = &view};
    if (!jinja_collect(state, &items, &pairs)) return false;
    text = jinja_capture(state);
    if (text == NULL) return false;
    for (size_t i = 0; i < pairs.n; i++) {
        if (!jinja_is_iterable(&pairs.items[i])) {
            return jinja_raise(state, "cannot unpack non-iterable %s object", jinja_type_name(&pairs.items[i]));
        }
        if (!jinja_collect(state, &pairs.items[i], &pair)) return false;
        if (pair.n > 2) return jinja_raise(state, "too many values to unpack (expected 2)");
        if (pair.n < 2) return jinja_raise(state, "not enough values to unpack (expected 2, got %zu)", pair.n);
        if (i > 0) jinja_append(state, text, "&", 1);
        if (!quote_value(state, text, &pair.items[0], true)) return false;
        jinja_append(state, text, "=", 1);
        if (!quote_value(state, text, &pair.items[1], true)) return false;
    }
    return jinja_capture_finish(state, text, out);
}

/* ---- urlize ---- */

typedef struct Urlizer {
    JinjaState *state;
    StrBuf *text;
    pcre2_code *http, *email;
    pcre2_match_data *match;
    const JinjaValue *limit; /* missing or none: no limit */
    const char *attributes;
    const JinjaList *schemes;
} Urlizer;

static pcre2_code *compile(const char *pattern)
{
    int error;
    PCRE2_SIZE offset;
    return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_MATCH_INVALID_UTF, &error, &offset, NULL);
}

static bool matches(const Urlizer *urlizer, const pcre2_code *code, const char *text, size_t length)
{
    return pcre2_match(code, (PCRE2_SPTR)text, length, 0, 0, urlizer->match, NULL) > 0;
}

static bool starts(const char *text, size_t length, const char *prefix)
{
    return length >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *text, size_t length, const char *suffix)
{
    const size_t n = strlen(suffix);
    return length >= n && memcmp(text + length - n, suffix, n) == 0;
}

/* How many characters of a link's text are shown; -1: all. The limit matters, whatever it is, once there is a link. */
static bool shown_limit(const Urlizer *urlizer, const char *shown, size_t n_shown, int64_t *out)
{
    const int64_t n = (int64_t)unicode_count(shown, n_shown);
    const JinjaValue length = jinja_int(n);
    int order;
    *out = -1;
    if (urlizer->limit->kind == JINJA_MISSING || urlizer->limit->kind == JINJA_NONE) return true;
    if (!jinja_order(urlizer->state, &length, urlizer->limit, ">", &order)) return false;
    if (order != 1) return true;
    if (urlizer->limit->kind == JINJA_FLOAT)
        return jinja_raise(urlizer->state, "slice indices must be integers or None or have an __index__ method");
    if (!jinja_index(urlizer->state, urlizer->limit, out)) return false;
    if (*out < 0) *out = n + *out < 0 ? 0 : n + *out;
    return true;
}

static void link_to(const Urlizer *urlizer, const char *prefix, const char *text, size_t length, const char *shown,
                    size_t n_shown, bool cut, bool with_attributes)
{
    JinjaState *state = urlizer->state;
    jinja_puts(state, urlizer->text, "<a href=\"");
    jinja_puts(state, urlizer->text, prefix);
    jinja_append(state, urlizer->text, text, length);
    jinja_puts(state, urlizer->text, "\"");
    if (with_attributes) jinja_puts(state, urlizer->text, urlizer->attributes);
    jinja_puts(state, urlizer->text, ">");
    int64_t limit = -1;
    if (cut && !shown_limit(urlizer, shown, n_shown, &limit)) return;
    if (limit >= 0) {
        jinja_append(state, urlizer->text, shown, unicode_offset(shown, n_shown, (size_t)limit));
        jinja_puts(state, urlizer->text, "...");
    } else {
        jinja_append(state, urlizer->text, shown, n_shown);
    }
    jinja_puts(state, urlizer->text, "</a>");
}

static void urlize_middle(const Urlizer *urlizer, const char *text, size_t length)
{
    if (matches(urlizer, urlizer->http, text, length)) {
        const bool has_scheme = starts(text, length, "https://") || starts(text, length, "http://");
        link_to(urlizer, has_scheme ? "" : "https://", text, length, text, length, true, true);
        return;
    }
    if (starts(text, length, "mailto:") && matches(urlizer, urlizer->email, text + 7, length - 7)) {
        link_to(urlizer, "", text, length, text + 7, length - 7, false, false);
        return;
    }
    if (memchr(text, '@', length) != NULL && !starts(text, length, "www.") && text[0] != '@' &&
        memchr(text, ':', length) == NULL && matches(urlizer, urlizer->email, text, length)) {
        link_to(urlizer, "mailto:", text, length, text, length, false, false);
        return;
    }
    for (size_t i = 0; urlizer->schemes != NULL && i < urlizer->schemes->n; i++) {
        const JinjaString *scheme = urlizer->schemes->items[i].string;
        if (length <= scheme->length || memcmp(text, scheme->data, scheme->length) != 0) continue;
        link_to(urlizer, "", text, length, text, length, false, true);
        return;
    }
    jinja_append(urlizer->state, urlizer->text, text, length);
}

static size_t count_of(const char *text, size_t length, const char *needle)
{
    size_t count = 0;
    const size_t n = strlen(needle);
    for (const char *at = text, *end = text + length; (at = memmem(at, (size_t)(end - at), needle, n)) != NULL; at += n)
        count++;
    return count;
}

/* One word: opening signs before, closing signs behind, an address between. */
static void urlize_word(const Urlizer *urlizer, const char *word, size_t length)
{
    static const char *const openers[] = {"(", "<", "&lt;"}, *const closers[] = {")", ">", "&gt;"};
    static const char *const trailing[] = {")", ">", ".", ",", "&gt;"};
    size_t start = 0, end = length;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < 3 && !more; i++) {
            if (starts(word + start, end - start, openers[i])) {
                start += strlen(openers[i]);
                more = true;
            }
        }
    }
    for (bool more = true; more && end > start;) {
        more = false;
        for (size_t i = 0; i < 5 && !more; i++) {
            if (ends(word + start, end - start, trailing[i])) {
                end -= strlen(trailing[i]);
                more = true;
            }
        }
    }
    for (size_t i = 0; i < 3; i++) {
        const size_t opened = count_of(word + start, end - start, openers[i]);
        if (opened <= count_of(word + start, end - start, closers[i])) continue;
        const size_t in_tail = count_of(word + end, length - end, closers[i]);
        for (size_t n = opened < in_tail ? opened : in_tail; n > 0; n--) {
            const char *close = memmem(word + end, length - end, closers[i], strlen(closers[i]));
            end = (size_t)(close - word) + strlen(closers[i]);
        }
    }
    jinja_append(urlizer->state, urlizer->text, word, start);
    if (end > start) urlize_middle(urlizer, word + start, end - start);
    jinja_append(urlizer->state, urlizer->text, word + end, length - end);
}

static bool urlize_text(Urlizer *urlizer, const JinjaString *source)
{
    const char *at = source->data, *end = at + source->length;
    while (at < end && urlizer->state->status == IMP_OK) {
        const char *start = at;
        size_t width = 0;
        while (at < end && unicode_is_space(unicode_decode(at, end, &width))) at += width;
        jinja_append(urlizer->state, urlizer->text, start, (size_t)(at - start));
        start = at;
        while (at < end && !unicode_is_space(unicode_decode(at, end, &width))) at += width;
        if (!jinja_charge(urlizer->state, 50 + (uint64_t)(at - start))) return false;
        if (at > start) urlize_word(urlizer, start, (size_t)(at - start));
    }
    return urlizer->state->status == IMP_OK;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*  rel="…" of the argument's words and Jinja2's own, sorted;  target="…" */
static bool link_attributes(JinjaState *state, const JinjaValue *arguments, const char **out)
{
    const char *words[64] = {"noopener"};
    size_t n = 1;
    if (arguments[1].kind != JINJA_MISSING && jinja_truthy(state, &arguments[1])) words[n++] = "nofollow";
    if (arguments[3].kind == JINJA_STRING) {
        char *copy = jinja_copy_text(state, arguments[3].string->data, arguments[3].string->length), *rest = NULL;
        if (copy == NULL) return jinja_raise_limit(state, "the template used too much memory");
        for (char *word = strtok_r(copy, " \t\n\r", &rest); word != NULL && n < 64;
             word = strtok_r(NULL, " \t\n\r", &rest)) {
            bool present = false;
            for (size_t i = 0; i < n; i++) present |= strcmp(words[i], word) == 0;
            if (!present) words[n++] = word;
        }
    }
    qsort(words, n, sizeof *words, compare_words);
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    jinja_puts(state, text, " rel=\"");
    for (size_t i = 0; i < n; i++) {
        if (i > 0) jinja_puts(state, text, " ");
        jinja_escape_into(state, text, words[i], strlen(words[i]));
    }
    jinja_puts(state, text, "\"");
    if (arguments[2].kind == JINJA_STRING && arguments[2].string->length > 0) {
        jinja_puts(state, text, " target=\"");
        jinja_escape_into(state, text, arguments[2].string->data, arguments[2].string->length);
        jinja_puts(state, text, "\"");
    }
    *out = state->status == IMP_OK ? jinja_copy_text(state, text->data, text->length) : NULL;
    jinja_capture_drop(state, text);
    return *out != NULL;
}

static bool check_schemes(JinjaState *state, const JinjaValue *argument, const JinjaList **out)
{
    *out = NULL;
    if (argument->kind != JINJA_LIST && argument->kind != JINJA_TUPLE) return true;
    for (size_t i = 0; i < argument->list->n; i++) {
        const JinjaValue *scheme = &argument->list->items[i];
        const JinjaString *text = scheme->kind == JINJA_STRING ? scheme->string : NULL;
        const char *colon = text == NULL ? NULL : memchr(text->data, ':', text->length);
        const size_t name = colon == NULL ? 0 : (size_t)(colon - text->data);
        bool valid = name >= 2 && text->length - name <= 3;
        for (size_t j = 0; valid && j < text->length; j++) {
            const char c = text->data[j];
            valid = j == name || (j > name ? c == '/'
                                           : c == '+' || c == '.' || c == '-' || c == '_' || (c >= '0' && c <= '9') ||
                                                 ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'));
        }
        if (!valid) return jinja_raise(state, "%s is not a valid URI scheme prefix.", jinja_repr_text(state, scheme));
    }
    *out = argument->list;
    return true;
}

FILTER(filter_urlize)
{
    Urlizer urlizer = {.state = state, .limit = &arguments[0]};
    JinjaValue escaped;
    if (!link_attributes(state, arguments, &urlizer.attributes)) return false;
    if (!check_schemes(state, &arguments[4], &urlizer.schemes) || !jinja_escape(state, value, &escaped)) return false;
    urlizer.http =
        compile("^((https?://|www\\.)(([\\w%-]+\\.)+)?([a-z]{2,63}|xn--[\\w%]{2,59})|([\\w%-]{2,63}\\.)+(com|net|int|"
                "edu|gov|org|info|mil)|(https?://)((([\\d]{1,3})(\\.[\\d]{1,3}){3})|(\\[([\\da-f]{0,4}:){2}([\\da-f]"
                "{0,4}:?){1,6}])))(?::[\\d]{1,5})?(?:[/?#]\\S*)?$");
    urlizer.email = compile("^\\S+@\\w[\\w.-]*\\.\\w+$");
    urlizer.match = pcre2_match_data_create(16, NULL);
    urlizer.text = jinja_capture(state);
    bool ok = urlizer.http != NULL && urlizer.email != NULL && urlizer.match != NULL && urlizer.text != NULL;
    if (!ok && state->status == IMP_OK) (void)jinja_raise_limit(state, "no memory for urlize");
    ok = ok && urlize_text(&urlizer, escaped.string) && jinja_capture_finish(state, urlizer.text, out);
    pcre2_match_data_free(urlizer.match);
    pcre2_code_free(urlizer.http);
    pcre2_code_free(urlizer.email);
    return ok;
}

static const JinjaBuiltin filters[] = {
    {.name = "e", .python_name = "escape", .hidden = 1, .call = filter_escape},
    {.name = "escape", .hidden = 1, .call = filter_escape},
    {.name = "forceescape", .python_name = "do_forceescape", .hidden = 1, .call = filter_forceescape},
    {.name = "safe", .python_name = "do_mark_safe", .hidden = 1, .call = filter_safe},
    {.name = "striptags", .python_name = "do_striptags", .hidden = 1, .call = filter_striptags},
    {.name = "xmlattr",
     .python_name = "do_xmlattr",
     .hidden = 2,
     .n_parameters = 1,
     .parameters = {"autospace"},
     .call = filter_xmlattr},
    {.name = "urlencode", .python_name = "do_urlencode", .hidden = 1, .call = filter_urlencode},
    {.name = "urlize",
     .python_name = "do_urlize",
     .hidden = 2,
     .n_parameters = 5,
     .parameters = {"trim_url_limit", "nofollow", "target", "rel", "extra_schemes"},
     .call = filter_urlize},
};

const JinjaBuiltinTable jinja_html_filters = {filters, sizeof filters / sizeof *filters};
