/*
 * code_fence.c - a line that begins with three ticks opens a block or closes it; ```code``` within a line is closed where it stands.
 */
#include "runtime/tools/code_fence.h"

enum { FENCE_TICKS = 3 };

static bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\r'; }

static void follow_byte(CodeFence *fence, char byte)
{
    if (byte == '\n') {
        *fence = (CodeFence){.inside = fence->inside};
    } else if (byte != '`') {
        fence->line_begun = fence->line_begun || !is_space(byte) || fence->n_ticks > 0;
    } else if (fence->line_begun) {
        if (fence->opened_here) fence->inside = false;
    } else if (fence->n_ticks < FENCE_TICKS && ++fence->n_ticks == FENCE_TICKS) {
        fence->inside = !fence->inside;
        fence->opened_here = fence->inside;
    }
}

void code_fence_follow(CodeFence *fence, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) follow_byte(fence, text[i]);
}

uint32_t code_fence_pack(const CodeFence *fence)
{
    return (uint32_t)fence->inside | (uint32_t)fence->opened_here << 1 | (uint32_t)fence->line_begun << 2 | (uint32_t)fence->n_ticks << 3;
}

CodeFence code_fence_unpack(uint32_t number)
{
    return (CodeFence){.inside = number & 1, .opened_here = number >> 1 & 1, .line_begun = number >> 2 & 1,
                       .n_ticks = (uint8_t)(number >> 3)};
}
