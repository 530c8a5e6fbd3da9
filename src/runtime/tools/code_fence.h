/*
 * code_fence.h - Markdown's blocks of code, followed through a text as it comes: what stands between their ``` lines is an example.
 *
 * Both who reads calls (tool_parser.c) and who allows them (tool_text.c) ask here, so that they agree on which text is code.
 */
#ifndef IMP_RUNTIME_CODE_FENCE_H
#define IMP_RUNTIME_CODE_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: at the beginning of a line outside of any block. */
typedef struct CodeFence {
    bool inside;
    bool opened_here; /* by this line */
    bool line_begun;  /* with something other than white space and ticks */
    uint8_t n_ticks;  /* at the line's beginning, up to three */
} CodeFence;

void code_fence_follow(CodeFence *fence, const char *text, size_t length);

/* As a number below CODE_FENCE_STATES, and back. */
enum { CODE_FENCE_STATES = 32 };
uint32_t code_fence_pack(const CodeFence *fence);
CodeFence code_fence_unpack(uint32_t number);

#endif
