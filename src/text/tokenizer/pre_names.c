/*
 * pre_names.c - the table of pre-tokenizers by name.
 *
 * GGUF files do not hold the pre-tokenizer, only a name that the conversion recognized it by; several names stand for the
 * same recipe.
 */
#include "text/tokenizer/pre_names.h"

#include <string.h>

typedef enum RecipeKind {
    RECIPE_END,
    RECIPE_SPLIT,        /* isolate the matches of a pattern */
    RECIPE_DIGITS,       /* isolate each digit: Digits(individual_digits) */
    RECIPE_DIGIT_RUNS,   /* keep runs of digits apart: Digits */
    RECIPE_PUNCTUATION,  /* keep runs of punctuation apart: Punctuation(contiguous) */
    RECIPE_BYTE_CHARS,   /* ByteLevel in the middle: later steps see its characters */
} RecipeKind;

typedef struct RecipeStep {
    RecipeKind kind;
    const char *pattern;
} RecipeStep;

enum { RECIPE_MAX_STEPS = 8, RECIPE_MAX_NAMES = 24 };

struct PreRecipe {
    const char *names[RECIPE_MAX_NAMES];
    RecipeStep steps[RECIPE_MAX_STEPS];
    bool ignore_merges, nfc, add_bos;
};

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define ANY_CASE_CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K(digits) ANY_CASE_CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES

static const PreRecipe recipes[] = {
    {{"gpt-2", "gpt2", "default"}, {{RECIPE_SPLIT, GPT2}}, false, false, false},
    {{"smollm", "starcoder", "refact", "command-r", "codeshell"}, {{RECIPE_DIGITS, NULL}, {RECIPE_SPLIT, GPT2}}, false, false, false},
    {{"llama-bpe", "llama3", "llama-v3"}, {{RECIPE_SPLIT, CL100K("\\p{N}{1,3}")}}, true, false, true},
    {{"qwen2"}, {{RECIPE_SPLIT, CL100K("\\p{N}")}}, false, true, false},
};

const PreRecipe *pre_recipe_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        for (size_t n = 0; n < RECIPE_MAX_NAMES && recipes[i].names[n] != NULL; n++) {
            if (strlen(recipes[i].names[n]) == length && memcmp(recipes[i].names[n], name, length) == 0) return &recipes[i];
        }
    }
    return NULL;
}

ImpStatus pre_recipe_apply(const PreRecipe *recipe, Arena *arena, const UnicodeTable *unicode, PreTokenizer *pre)
{
    for (const RecipeStep *step = recipe->steps; step->kind != RECIPE_END; step++) {
        PreStep *added = pre_add_step(pre, step->kind == RECIPE_BYTE_CHARS ? PRE_BYTE_CHARS : PRE_SPLIT);
        if (added == NULL) return IMP_ERR_LIMIT;
        added->behavior = SPLIT_ISOLATED;
        switch (step->kind) {
        case RECIPE_SPLIT: IMP_TRY(pattern_regex(arena, unicode, step->pattern, strlen(step->pattern), &added->pattern)); break;
        case RECIPE_DIGITS: added->pattern = pattern_class(unicode, 0, UC_NUMERIC); break;
        case RECIPE_DIGIT_RUNS:
            added->pattern = pattern_class(unicode, 0, UC_NUMERIC);
            added->behavior = SPLIT_CONTIGUOUS;
            break;
        case RECIPE_PUNCTUATION:
            added->pattern = pattern_class(unicode, 0, UC_OLD_PUNCT);
            added->behavior = SPLIT_CONTIGUOUS;
            break;
        case RECIPE_BYTE_CHARS:
        case RECIPE_END: break;
        }
    }
    return IMP_OK;
}

bool pre_recipe_ignores_merges(const PreRecipe *recipe) { return recipe->ignore_merges; }
bool pre_recipe_normalizes(const PreRecipe *recipe) { return recipe->nfc; }
bool pre_recipe_adds_bos(const PreRecipe *recipe) { return recipe->add_bos; }
