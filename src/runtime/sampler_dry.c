/*
 * sampler_dry.c - repetitions at the end of a text, all at once.
 *
 * Read from its end, the text is a string s, and the repetition that ends i tokens back is as long as s and s[i …]
 * agree: the Z function, found in linear time (Gusfield, Algorithms on Strings, 1997, section 1.4), however often the
 * text repeats itself.
 */
#include "runtime/sampler_dry.h"

#include <stddef.h>

bool dry_is_breaker(const DryBreakers *breakers, int32_t token)
{
    return breakers->tokens && token >= 0 && (breakers->tokens[token / 32] >> (token % 32) & 1u);
}

/* Whether sequence `index` ends with the last of tokens[n]. */
static bool sequence_ends_here(const DryBreakers *breakers, int32_t index, const int32_t *tokens, int32_t n)
{
    const int32_t count = breakers->sequences[index].count;
    if (count > n) return false;
    for (int32_t i = 0; i < count; i++)
        if (tokens[n - count + i] != breakers->sequences[index].tokens[i]) return false;
    return true;
}

int32_t dry_reach(const DryBreakers *breakers, const int32_t *tokens, int32_t n)
{
    for (int32_t reach = 0; reach < n; reach++) {
        if (dry_is_breaker(breakers, tokens[n - 1 - reach])) return reach;
        for (int32_t i = 0; i < breakers->n_sequences; i++)
            if (sequence_ends_here(breakers, i, tokens, n - reach)) return reach;
    }
    return n;
}

void dry_match(const int32_t *tokens, int32_t n, int32_t reach, int32_t *match)
{
    const int32_t *end = tokens + n - 1; /* s[i] = end[-i] */
    int32_t left = 0, right = 0;         /* s[left … right-1] equals s[0 … right-left-1], right as far as seen */
    for (int32_t i = 1; i < n; i++) {
        int32_t length = 0;
        if (i < right) length = match[i - left] < right - i ? match[i - left] : right - i;
        while (i + length < n && end[-length] == end[-(i + length)]) length++;
        if (i + length > right) {
            left = i;
            right = i + length;
        }
        match[i] = length;
    }
    for (int32_t i = 1; i < n; i++)
        if (match[i] > reach) match[i] = reach;
}
