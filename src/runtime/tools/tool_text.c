/*
 * tool_text.c - a small machine that reads an answer as the parser does and refuses what could begin a call.
 *
 * It knows three things of the text so far: whether it has begun (some forms stand only at the start), where it is with respect to blocks
 * of code (code_fence.h), and how much of a mark it ends in. Inside of a block of code a format's marks are text.
 */
#include "runtime/tools/tool_text.h"

#include "runtime/constraint/json_value.h"
#include "runtime/tools/code_fence.h"

#include <string.h>

enum { MAX_MARKS = TOOL_MAX_FORMS + 1, MAX_MARK = 32, MAX_LETTERS = 256, MARK_BITS = 6 };

typedef struct TextRules {
    uint32_t marks[MAX_MARKS][MAX_MARK]; /* code points */
    size_t mark_lengths[MAX_MARKS], n_marks;
    uint32_t letters[MAX_LETTERS];
    size_t n_letters;
    bool code_is_text;
    bool brackets_call; /* what begins with { or [ is a call */
    bool before_calls;  /* the text is whole only where a call would be read */
} TextRules;

typedef struct TextState {
    CodeFence fence;
    bool begun;
    uint32_t mark, matched; /* it ends in so many characters of this mark */
} TextState;

static uint32_t pack(const TextState *state)
{
    return (((state->mark << MARK_BITS | state->matched) << 1 | (uint32_t)state->begun) * CODE_FENCE_STATES) |
           code_fence_pack(&state->fence);
}

static TextState unpack(uint32_t number)
{
    const uint32_t rest = number / CODE_FENCE_STATES;
    return (TextState){.fence = code_fence_unpack(number % CODE_FENCE_STATES), .begun = rest & 1,
                       .matched = (rest >> 1) % (1U << MARK_BITS), .mark = rest >> (1 + MARK_BITS)};
}

/* A letter of a mark, or one that literal_match() takes for it. */
static bool is_letter(uint32_t mark, uint32_t letter)
{
    enum { WIDE_BAR = 0xff5c, LOW_BLOCK = 0x2581 };
    return letter == mark || (mark == WIDE_BAR && letter == '|') || (mark == LOW_BLOCK && (letter == '_' || letter == ' '));
}

static bool begins_with(const uint32_t *mark, const uint32_t *text, size_t length)
{
    size_t n = 0;
    while (n < length && is_letter(mark[n], text[n])) n++;
    return n == length;
}

/* Finds the longest end of `text` that begins a mark; false when it ends in a whole one. */
static bool match_marks(const TextRules *rules, const uint32_t *text, size_t length, TextState *state)
{
    state->mark = state->matched = 0;
    for (size_t from = 0; from < length; from++) {
        for (uint32_t i = 0; i < rules->n_marks; i++) {
            const size_t n = length - from;
            if (n > rules->mark_lengths[i] || !begins_with(rules->marks[i], text + from, n)) continue;
            if (n == rules->mark_lengths[i]) return false;
            if (state->matched > 0) continue;
            state->mark = i;
            state->matched = (uint32_t)n;
        }
    }
    return true;
}

static bool step(const void *context, uint32_t number, uint32_t letter, uint32_t *next)
{
    const TextRules *rules = context;
    TextState state = unpack(number);
    const char byte = letter > 0 && letter < 128 ? (char)letter : 'x';
    uint32_t text[MAX_MARK + 1];
    if (!state.begun && strchr(" \n\r\t", byte) == NULL) {
        if (rules->brackets_call && (byte == '{' || byte == '[')) return false;
        state.begun = true;
    }
    const bool is_example = rules->code_is_text && state.fence.inside;
    memcpy(text, rules->marks[state.mark], state.matched * sizeof *text);
    text[state.matched] = letter;
    const size_t length = is_example ? 0 : state.matched + 1;
    if (rules->code_is_text) code_fence_follow(&state.fence, &byte, 1);
    if (!match_marks(rules, text, length, &state)) return false;
    *next = pack(&state);
    return true;
}

static bool may_end(const void *context, uint32_t number)
{
    const TextRules *rules = context;
    return !rules->before_calls || !unpack(number).fence.inside;
}

static void add_letter(TextRules *rules, uint32_t letter)
{
    for (size_t i = 0; i < rules->n_letters; i++)
        if (rules->letters[i] == letter) return;
    if (rules->n_letters < MAX_LETTERS) rules->letters[rules->n_letters++] = letter;
}

/* Up to its first white space, behind which the reader of calls is generous. */
static void add_mark(TextRules *rules, const char *mark)
{
    const size_t length = strcspn(mark, " \n");
    size_t n = 0;
    for (size_t at = 0; at < length && n < MAX_MARK;) {
        const uint32_t letter = utf8_next(mark, length, &at);
        add_letter(rules, letter);
        rules->marks[rules->n_marks][n++] = letter;
    }
    rules->mark_lengths[rules->n_marks++] = n;
}

static void find_rules(const ToolFormat *format, TextRules *rules)
{
    for (const char *c = " \n\r\t`{[|_"; *c != '\0'; c++) add_letter(rules, (unsigned char)*c);
    rules->code_is_text = format->code_is_text;
    if (format->think_open != NULL) add_mark(rules, format->think_open);
    for (size_t i = 0; i < TOOL_MAX_FORMS && format->forms[i].call != NULL; i++) {
        const ToolForm *form = &format->forms[i];
        if (form->only_at_start) rules->brackets_call = true;
        else add_mark(rules, form->open[0] != '\0' ? form->open : form->call);
    }
}

ImpStatus tool_text_add(ConstraintBuilder *builder, const ToolFormat *format, ConstraintPart *whole, ConstraintPart *before_calls)
{
    TextRules rules = {0};
    find_rules(format, &rules);
    const DfaMachine machine = {.letters = rules.letters, .n_letters = rules.n_letters, .step = step, .may_end = may_end,
                                .context = &rules};
    IMP_TRY(constraint_add_machine(builder, &machine, whole));
    rules.before_calls = true;
    return constraint_add_machine(builder, &machine, before_calls);
}
