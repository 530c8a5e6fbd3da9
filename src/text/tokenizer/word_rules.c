/*
 * word_rules.c - the grammar behind GPT-2's pattern and all its children.
 *
 * Every pattern of the family tries, in this order:
 *   1. an English contraction: 's 't 're 've 'm 'll 'd (some patterns attach it to the word instead);
 *   2. a word: one optional character in front (GPT-2: a space; later: anything but a line break, letter or digit),
 * then letters; o200k asks for a case structure, upper* lower+ or upper+ lower*;
 *   3. digits, at most so many, GPT-2 with an optional space in front;
 *   4. symbols: an optional space, then anything that is no space, letter or digit, then line breaks (some: slashes
 * too);
 *   5. white space up to its last line break;
 *   6. white space without its last character when something follows, \s+(?!\S); 7. what white space is left.
 * A row of the table says which variant of each it has. DeepSeek's leaves gaps: characters that no alternative matches,
 * which the split hands on as pieces of their own.
 */
#include "text/tokenizer/word_rules.h"

#include "text/tokenizer/utf8.h"

#include <string.h>

typedef enum Contraction { CONTRACTION_NONE, CONTRACTION_CASED, CONTRACTION_ANY_CASE, CONTRACTION_SUFFIX } Contraction;
typedef enum WordShape { WORD_SPACED, WORD_PREFIXED, WORD_CASED } WordShape;

struct WordRules {
    const char *pattern;
    Contraction contraction;
    WordShape shape;
    bool han_apart;    /* runs of Han are words of their own */
    bool tagged_words; /* an ASCII punctuation mark and the ASCII letters after it are a word */
    uint32_t word;     /* categories of a word's characters; unused by WORD_CASED */
    uint32_t prefix;   /* categories of the character in front of a word, line breaks excepted */
    uint32_t digit;    /* categories of alternative 3 */
    size_t max_digits;
    uint32_t symbol;  /* categories of alternative 4, white space excepted */
    const char *tail; /* what may follow symbols */
    bool line_breaks; /* alternative 5 exists */
};

#define GC_ANY UINT32_MAX
#define GC_UPPER (GC_BIT(GC_LU) | GC_BIT(GC_LT) | GC_BIT(GC_LM) | GC_BIT(GC_LO) | GC_M)
#define GC_LOWER (GC_BIT(GC_LL) | GC_BIT(GC_LM) | GC_BIT(GC_LO) | GC_M)

typedef struct Text {
    const UnicodeTable *unicode;
    const char *bytes;
    size_t length;
} Text;

/* Flags of the character at `at`, which must be inside the text. */
static inline unsigned flags_at(const Text *text, size_t at, size_t *width)
{
    return unicode_flags(text->unicode, utf8_decode(text->bytes + at, width));
}

static inline bool is_in(unsigned flags, uint32_t categories) { return unicode_in(flags, categories); }

/* The end of the run of characters in `categories` that starts at `at`, which may be the text's end. */
static inline size_t run_of(const Text *text, size_t at, uint32_t categories)
{
    while (at < text->length) {
        size_t width;
        if (!is_in(flags_at(text, at, &width), categories)) break;
        at += width;
    }
    return at;
}

static size_t run_of_space(const Text *text, size_t at)
{
    while (at < text->length) {
        size_t width;
        if ((flags_at(text, at, &width) & UC_SPACE) == 0) break;
        at += width;
    }
    return at;
}

/* Length of the contraction at `at`, 0 when there is none. Without regard to case, U+017F is an s as well. */
static size_t contraction_at(const Text *text, size_t at, bool any_case)
{
    const char *s = text->bytes + at;
    const size_t left = text->length - at;
    if (left < 2 || s[0] != '\'') return 0;
    const char fold = any_case ? 0x20 : 0;
    const char first = (char)(s[1] | fold);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if (left < 3) return 0;
    if (any_case && s[1] == '\xC5' && s[2] == '\xBF') return 3;
    const char second = (char)(s[2] | fold);
    if (second == 'e' && (first == 'r' || first == 'v')) return 3;
    return first == 'l' && second == 'l' ? 3 : 0;
}

static inline bool is_line_break(char byte) { return byte == '\r' || byte == '\n'; }

/* Alternatives 5 to 7. The character at `at` is white space. */
static size_t white_space(const WordRules *rules, const Text *text, size_t at)
{
    const size_t end = run_of_space(text, at);
    if (rules->line_breaks) {
        for (size_t i = end; i > at; i--) {
            if (is_line_break(text->bytes[i - 1])) return i;
        }
    }
    if (end == text->length) return end;
    const size_t last = utf8_previous(text->bytes, end);
    return last > at ? last : end;
}

/* upper* lower+ from `at`, or upper+ lower* when `upper_needed`; 0 when it does not match. A letter without case is
 * both, so upper* may have to give some back: to the last one that is lower as well, which then is the whole of lower+.
 */
static size_t cased_word(const WordRules *rules, const Text *text, size_t at, bool upper_needed)
{
    size_t i = at, both = 0;
    while (i < text->length) {
        size_t width;
        const unsigned flags = flags_at(text, i, &width);
        if (!is_in(flags, GC_UPPER) || (rules->han_apart && (flags & UC_HAN) != 0)) break;
        i += width;
        if (is_in(flags, GC_LOWER)) both = i;
    }
    const size_t upper_end = i;
    while (i < text->length) {
        size_t width;
        const unsigned flags = flags_at(text, i, &width);
        if (!is_in(flags, GC_LOWER) || (rules->han_apart && (flags & UC_HAN) != 0)) break;
        i += width;
    }
    if (upper_needed) return upper_end > at ? i : 0;
    return i > upper_end ? i : both;
}

/* Alternative 2 where case counts; `prefixed` is where the word starts when its first character is the optional one, 0
 * when that one may not be. */
static size_t cased_word_at(const WordRules *rules, const Text *text, size_t at, size_t prefixed)
{
    size_t end = 0;
    for (int upper_needed = 0; upper_needed < 2 && end == 0; upper_needed++) {
        if (prefixed != 0) end = cased_word(rules, text, prefixed, upper_needed != 0);
        if (end == 0) end = cased_word(rules, text, at, upper_needed != 0);
    }
    if (end != 0 && rules->contraction == CONTRACTION_SUFFIX) end += contraction_at(text, end, true);
    return end;
}

static inline bool is_ascii_letter(char byte) { return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'; }

static inline bool is_ascii_punctuation(char byte)
{
    return (byte >= '!' && byte <= '/') || (byte >= ':' && byte <= '@') || (byte >= '[' && byte <= '`') ||
           (byte >= '{' && byte <= '~');
}

/* DeepSeek's first alternative: [!-/:-@[-`{-~][A-Za-z]+ */
static size_t tagged_word(const Text *text, size_t at)
{
    if (!is_ascii_punctuation(text->bytes[at])) return 0;
    size_t end = at + 1;
    while (end < text->length && is_ascii_letter(text->bytes[end])) end++;
    return end > at + 1 ? end : 0;
}

static size_t run_of_han(const Text *text, size_t at)
{
    while (at < text->length) {
        size_t width;
        if ((flags_at(text, at, &width) & UC_HAN) == 0) break;
        at += width;
    }
    return at;
}

/* Alternatives 2 and 3 of the spaced patterns, and 4 of all: the run of `categories` after an optional space. */
static size_t spaced_run(const Text *text, size_t at, uint32_t categories)
{
    size_t i = at + (text->bytes[at] == ' ');
    const size_t start = i;
    while (i < text->length) {
        size_t width;
        const unsigned flags = flags_at(text, i, &width);
        if (!is_in(flags, categories) || (flags & UC_SPACE) != 0) break;
        i += width;
    }
    return i > start ? i : 0;
}

/* Alternative 2. */
static size_t word_at(const WordRules *rules, const Text *text, size_t at, unsigned flags, size_t width)
{
    if (rules->shape == WORD_SPACED) return spaced_run(text, at, rules->word);
    const bool prefix = is_in(flags, rules->prefix) && !is_line_break(text->bytes[at]);
    if (rules->shape == WORD_CASED) return cased_word_at(rules, text, at, prefix ? at + width : 0);
    if (prefix) {
        const size_t end = run_of(text, at + width, rules->word);
        if (end > at + width) return end;
    }
    return is_in(flags, rules->word) ? run_of(text, at + width, rules->word) : 0;
}

/* Alternative 3. */
static size_t digits_at(const WordRules *rules, const Text *text, size_t at)
{
    if (rules->shape == WORD_SPACED) return spaced_run(text, at, rules->digit);
    size_t i = at;
    for (size_t n = 0; n < rules->max_digits && i < text->length; n++) {
        size_t width;
        if (!is_in(flags_at(text, i, &width), rules->digit)) break;
        i += width;
    }
    return i > at ? i : 0;
}

/* Alternative 4. */
static size_t symbols_at(const WordRules *rules, const Text *text, size_t at)
{
    size_t end = spaced_run(text, at, rules->symbol);
    if (end == 0) return 0;
    while (end < text->length && text->bytes[end] != '\0' && strchr(rules->tail, text->bytes[end]) != NULL) end++;
    return end;
}

/* The end of the match that starts at `at`; 0 when none does. */
static size_t match_at(const WordRules *rules, const Text *text, size_t at)
{
    size_t width, end;
    const unsigned flags = flags_at(text, at, &width);
    if (rules->contraction == CONTRACTION_CASED || rules->contraction == CONTRACTION_ANY_CASE) {
        end = contraction_at(text, at, rules->contraction == CONTRACTION_ANY_CASE);
        if (end != 0) return at + end;
    }
    if (rules->han_apart && (flags & UC_HAN) != 0) return run_of_han(text, at);
    if (rules->tagged_words && (end = tagged_word(text, at)) != 0) return end;
    if ((end = word_at(rules, text, at, flags, width)) != 0) return end;
    if ((end = digits_at(rules, text, at)) != 0) return end;
    if ((end = symbols_at(rules, text, at)) != 0) return end;
    return (flags & UC_SPACE) != 0 ? white_space(rules, text, at) : 0;
}

bool word_rules_next(const WordRules *rules, const UnicodeTable *unicode, const char *text, size_t length, size_t from,
                     size_t *start, size_t *end)
{
    const Text whole = {unicode, text, length};
    for (size_t at = from; at < length; at += utf8_width(text[at])) {
        *end = match_at(rules, &whole, at);
        if (*end != 0) {
            *start = at;
            return true;
        }
    }
    return false;
}

#define PLAIN_SYMBOL (GC_ANY & ~(GC_L | GC_N))

#define CASED_WORDS(upper, lower, suffix)                                                                              \
    "[^\\r\\n\\p{L}\\p{N}]?[" upper "]*[" lower "]+" suffix "|[^\\r\\n\\p{L}\\p{N}]?[" upper "]+[" lower "]*" suffix
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define ANY_CASE_CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const WordRules table[] = {
    {.pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", /* GPT-2 */
     .contraction = CONTRACTION_CASED,
     .shape = WORD_SPACED,
     .word = GC_L,
     .digit = GC_N,
     .symbol = PLAIN_SYMBOL,
     .tail = ""},
    {.pattern =
         ANY_CASE_CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
     .contraction = CONTRACTION_ANY_CASE, /* Llama 3 */
     .shape = WORD_PREFIXED,
     .word = GC_L,
     .prefix = PLAIN_SYMBOL,
     .digit = GC_N,
     .max_digits = 3,
     .symbol = PLAIN_SYMBOL,
     .tail = "\r\n",
     .line_breaks = true},
    {.pattern = ANY_CASE_CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
     .contraction = CONTRACTION_ANY_CASE, /* Qwen 2 */
     .shape = WORD_PREFIXED,
     .word = GC_L,
     .prefix = PLAIN_SYMBOL,
     .digit = GC_N,
     .max_digits = 1,
     .symbol = PLAIN_SYMBOL,
     .tail = "\r\n",
     .line_breaks = true},
    {.pattern = ANY_CASE_CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                                     "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES,
     .contraction = CONTRACTION_ANY_CASE, /* Qwen 3.5 */
     .shape = WORD_PREFIXED,
     .word = GC_L | GC_M,
     .prefix = PLAIN_SYMBOL,
     .digit = GC_N,
     .max_digits = 1,
     .symbol = PLAIN_SYMBOL & ~GC_M,
     .tail = "\r\n",
     .line_breaks = true},
    {.pattern =
         CASED_WORDS(UPPER, LOWER, ANY_CASE_CONTRACTION "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES,
     .contraction = CONTRACTION_SUFFIX, /* o200k: GPT-4o, GPT-OSS */
     .shape = WORD_CASED,
     .prefix = PLAIN_SYMBOL,
     .digit = GC_N,
     .max_digits = 3,
     .symbol = PLAIN_SYMBOL,
     .tail = "\r\n/",
     .line_breaks = true},
    {.pattern = CASED_WORDS(UPPER, LOWER, "") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES,
     .shape = WORD_CASED, /* Tekken */
     .prefix = PLAIN_SYMBOL,
     .digit = GC_N,
     .max_digits = 1,
     .symbol = PLAIN_SYMBOL,
     .tail = "\r\n/",
     .line_breaks = true},
    {.pattern =
         "[\\p{Han}]+|" CASED_WORDS(UPPER "&&[^\\p{Han}]", LOWER "&&[^\\p{Han}]",
                                    ANY_CASE_CONTRACTION "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES,
     .contraction = CONTRACTION_SUFFIX, /* Kimi */
     .shape = WORD_CASED,
     .han_apart = true,
     .prefix = PLAIN_SYMBOL,
     .digit = GC_N,
     .max_digits = 3,
     .symbol = PLAIN_SYMBOL,
     .tail = "\r\n",
     .line_breaks = true},
    {.pattern = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                "?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES,
     .tagged_words = true, /* DeepSeek V3 */
     .shape = WORD_PREFIXED,
     .word = GC_L | GC_M,
     .prefix = GC_ANY & ~(GC_L | GC_P | GC_S),
     .symbol = GC_P | GC_S,
     .tail = "\r\n",
     .line_breaks = true},
};

enum { N_RULES = sizeof table / sizeof table[0] };

const WordRules *word_rules_at(size_t index) { return index < N_RULES ? &table[index] : NULL; }

const char *word_rules_pattern(const WordRules *rules) { return rules->pattern; }

const WordRules *word_rules_find(const char *pattern, size_t length)
{
    for (size_t i = 0; i < N_RULES; i++) {
        if (strlen(table[i].pattern) == length && memcmp(table[i].pattern, pattern, length) == 0) return &table[i];
    }
    return NULL;
}
