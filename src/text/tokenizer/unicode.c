/*
 * unicode.c - runs of equal code points become a table of pages, most of which are shared.
 */
#include "text/tokenizer/unicode.h"

#include <string.h>

typedef struct UnicodeRun {
    uint32_t first;
    uint32_t flags;
} UnicodeRun;

static const UnicodeRun runs[] = {
#include "text/tokenizer/unicode_runs.inc"
};

typedef struct LowerRun {
    uint32_t first, last;
    uint32_t step;
    int32_t difference;
} LowerRun;

static const LowerRun lower_runs[] = {
#include "text/tokenizer/lowercase_runs.inc"
};

typedef struct ScriptRun {
    uint32_t first;
    uint32_t script;
} ScriptRun;

static const ScriptRun script_runs[] = {
#include "text/tokenizer/script_runs.inc"
};

enum { N_RUNS = sizeof runs / sizeof runs[0], PAGE = 1 << UNICODE_PAGE_BITS };

ImpStatus unicode_table_create(Arena *arena, const UnicodeTable **out)
{
    UnicodeTable *table = arena_alloc(arena, 1, sizeof *table);
    if (table == NULL) return imp_fail_memory(sizeof *table);
    /* A page inside one long run is the previous page again when that one lay in the same run. */
    const uint32_t *uniform = NULL;
    size_t uniform_run = SIZE_MAX;
    size_t run = 0;
    for (uint32_t page = 0; page < UNICODE_LIMIT >> UNICODE_PAGE_BITS; page++) {
        const uint32_t first = page << UNICODE_PAGE_BITS;
        while (run + 1 < N_RUNS && runs[run + 1].first <= first) run++;
        const bool one_run = run + 1 == N_RUNS || runs[run + 1].first >= first + PAGE;
        if (one_run && uniform_run == run) {
            table->pages[page] = uniform;
            continue;
        }
        uint32_t *flags = arena_alloc(arena, PAGE, sizeof *flags);
        if (flags == NULL) return imp_fail_memory(PAGE * sizeof *flags);
        size_t r = run;
        for (uint32_t i = 0; i < PAGE; i++) {
            while (r + 1 < N_RUNS && runs[r + 1].first <= first + i) r++;
            flags[i] = runs[r].flags;
        }
        table->pages[page] = flags;
        if (one_run) {
            uniform = flags;
            uniform_run = run;
        }
    }
    *out = table;
    return IMP_OK;
}

bool unicode_run_at(size_t index, uint32_t *first, uint32_t *last, unsigned *flags)
{
    if (index >= N_RUNS) return false;
    *first = runs[index].first;
    *last = index + 1 < N_RUNS ? runs[index + 1].first - 1 : UNICODE_LIMIT - 1;
    *flags = runs[index].flags;
    return true;
}

size_t unicode_lower(const UnicodeTable *table, uint32_t code_point, uint32_t out[2])
{
    out[0] = code_point;
    if ((unicode_flags(table, code_point) & UC_UPPER) == 0) return 1;
    if (code_point == 0x130) { /* the only one that becomes two: i and a dot above */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; i < sizeof lower_runs / sizeof lower_runs[0]; i++) {
        const LowerRun *run = &lower_runs[i];
        if (code_point < run->first || code_point > run->last || (code_point - run->first) % run->step != 0) continue;
        out[0] = (uint32_t)((int32_t)code_point + run->difference);
        break;
    }
    return 1;
}

unsigned unicode_script(uint32_t code_point)
{
    size_t low = 0, high = sizeof script_runs / sizeof script_runs[0];
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (script_runs[middle].first <= code_point) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return script_runs[low].script;
}
