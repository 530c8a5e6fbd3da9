/*
 * pre_names.c - the table of pre-tokenizers by name.
 *
 * GGUF files do not hold the pre-tokenizer, only a name that the conversion recognized it by. A recipe is what the
 * tokenizer.json of the models of that name says; several names stand for the same one. All recipes end in byte-level
 * characters, which the model takes as bytes, unless the recipe has them earlier.
 */
#include "text/tokenizer/pre_names.h"

#include <string.h>

typedef enum RecipeKind {
    RECIPE_END,
    RECIPE_SPLIT,        /* isolate the matches of a pattern */
    RECIPE_DIGITS,       /* isolate each digit: Digits(individual_digits) */
    RECIPE_DIGIT_RUNS,   /* keep runs of digits apart: Digits */
    RECIPE_PUNCTUATION,  /* isolate punctuation: Punctuation */
    RECIPE_SYMBOL_RUNS,  /* keep runs of punctuation apart: Punctuation(contiguous) */
    RECIPE_DIGIT_GROUPS, /* decimal digits by three from the right: what three patterns do in the file */
    RECIPE_BYTE_CHARS,   /* ByteLevel in the middle: later steps see its characters */
} RecipeKind;

typedef struct RecipeStep {
    RecipeKind kind;
    const char *pattern;
} RecipeStep;

enum { RECIPE_MAX_STEPS = 8 };

enum { IGNORE_MERGES = 1, NFC = 2, ADD_BOS = 4, ADD_SEPARATOR = 8 };

struct PreRecipe {
    const char *names; /* each between spaces */
    unsigned options;
    RecipeStep steps[RECIPE_MAX_STEPS];
};

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+"
#define CL100K(digits) CONTRACTION "|" WORD "|" digits "|" SYMBOLS "[\\r\\n]*|" SPACES
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED(upper, lower, suffix)                                                                                    \
    "[^\\r\\n\\p{L}\\p{N}]?[" upper "]*[" lower "]+" suffix "|[^\\r\\n\\p{L}\\p{N}]?[" upper "]+[" lower "]*" suffix
#define O200K(digits) CASED(UPPER, LOWER, CONTRACTION "?") "|" digits "|" SYMBOLS "[\\r\\n/]*|" SPACES
#define NOT_HAN "&&[^\\p{Han}]"
#define DEEPSEEK_CJK "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
#define DEEPSEEK_WORDS                                                                                                 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "              \
    "?[\\p{P}\\p{S}]+"
#define DEEPSEEK_OLD_CJK "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
#define AFMOE_ASIAN                                                                                                    \
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f"        \
    "\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
#define BLOOM " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
/* The alphabetic scripts with case, as DeepSeek LLM lists them. */
#define CASED_LETTERS                                                                                                  \
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376"    \
    "\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-"    \
    "\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"   \
    "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"    \
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"   \
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"      \
    "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"     \
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"         \
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"        \
    "\U000118a0-\U000118df\U0001e900-\U0001e943"

static const PreRecipe recipes[] = {
    {" default gpt-2 gpt2 phi-2 jais jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum exaone4 trillion "
     "granite-docling ",
     0,
     {{RECIPE_SPLIT, GPT2}}},
    {" roberta-bpe jina-v1-en jina-v2-code ", ADD_SEPARATOR, {{RECIPE_SPLIT, GPT2}}},
    {" mpt olmo modern-bert ", NFC, {{RECIPE_SPLIT, GPT2}}},
    {" smollm starcoder refact codeshell exaone minerva-7b mellum2 ", 0, {{RECIPE_DIGITS, NULL}, {RECIPE_SPLIT, GPT2}}},
    {" command-r ", NFC, {{RECIPE_DIGITS, NULL}, {RECIPE_SPLIT, GPT2}}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
     IGNORE_MERGES | ADD_BOS,
     {{RECIPE_SPLIT, CL100K("\\p{N}{1,3}")}}},
    {" glm4 glm5 ", IGNORE_MERGES, {{RECIPE_SPLIT, CL100K("\\p{N}{1,3}")}}},
    {" dbrx smaug-bpe chatglm-bpe ", 0, {{RECIPE_SPLIT, CL100K("\\p{N}{1,3}")}}},
    {" minicpm5 ", IGNORE_MERGES, {{RECIPE_SPLIT, "\\p{N}{1,3}"}, {RECIPE_SPLIT, CL100K("\\p{N}+")}}},
    {" qwen2 deepseek-r1-qwen kormo f2llmv2 megrez hunyuan ", NFC, {{RECIPE_SPLIT, CL100K("\\p{N}")}}},
    {" stablelm2 solar-open grok-2 ", 0, {{RECIPE_SPLIT, CL100K("\\p{N}")}}},
    {" qwen35 ",
     NFC,
     {{RECIPE_SPLIT,
       CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}}},
    {" gpt-4o llama4 kanana2 talkie minimax-m2 ", 0, {{RECIPE_SPLIT, O200K("\\p{N}{1,3}")}}},
    {" granite-embed-multi-97m ", IGNORE_MERGES, {{RECIPE_SPLIT, O200K("\\p{N}{1,3}")}}},
    {" tiny_aya cohere2moe ", 0, {{RECIPE_SPLIT, "\\d{1,3}(?=(?:\\d{3})*\\b)"}, {RECIPE_SPLIT, O200K("\\p{N}{1,3}")}}},
    {" tekken ",
     IGNORE_MERGES | ADD_BOS,
     {{RECIPE_SPLIT, CASED(UPPER, LOWER, "") "|\\p{N}|" SYMBOLS "[\\r\\n/]*|" SPACES}}},
    {" kimi-k2 ",
     0,
     {{RECIPE_SPLIT, "[\\p{Han}]+|" CASED(UPPER NOT_HAN, LOWER NOT_HAN, CONTRACTION "?") "|\\p{N}{1,3}|" SYMBOLS
                                                                                         "[\\r\\n]*|" SPACES}}},
    {" deepseek-v3 hunyuan-dense joyai-llm hy_v4 ",
     0,
     {{RECIPE_SPLIT, "\\p{N}{1,3}"}, {RECIPE_SPLIT, DEEPSEEK_CJK}, {RECIPE_SPLIT, DEEPSEEK_WORDS "[\\r\\n]*|" SPACES}}},
    {" afmoe ",
     0,
     {{RECIPE_DIGIT_GROUPS, NULL}, {RECIPE_SPLIT, AFMOE_ASIAN}, {RECIPE_SPLIT, DEEPSEEK_WORDS "[\\r\\n]*|" SPACES}}},
    {" spark2_5 ",
     0,
     {{RECIPE_SPLIT, "\\p{N}{1,3}"},
      {RECIPE_SPLIT, DEEPSEEK_CJK},
      {RECIPE_SPLIT, DEEPSEEK_WORDS "|[\\r\\n]|\\s+(?!\\S)|\\s+"},
      {RECIPE_DIGITS, NULL}}},
    {" deepseek-llm ",
     0,
     {{RECIPE_SPLIT, "[\\r\\n]"},
      {RECIPE_SPLIT, "\\s?[" CASED_LETTERS "]+"},
      {RECIPE_SPLIT, "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"},
      {RECIPE_SPLIT, "\\s+$"},
      {RECIPE_SPLIT, DEEPSEEK_OLD_CJK},
      {RECIPE_DIGIT_RUNS, NULL}}},
    {" deepseek-coder ",
     0,
     {{RECIPE_SPLIT, "[\\r\\n]"},
      {RECIPE_SPLIT, "\\s?\\p{L}+"},
      {RECIPE_SPLIT, "\\s?\\p{P}+"},
      {RECIPE_SPLIT, DEEPSEEK_OLD_CJK},
      {RECIPE_DIGITS, NULL}}},
    {" falcon ",
     0,
     {{RECIPE_SYMBOL_RUNS, NULL},
      {RECIPE_SPLIT, GPT2},
      {RECIPE_BYTE_CHARS, NULL},
      {RECIPE_DIGIT_RUNS, NULL},
      {RECIPE_SPLIT, "[0-9][0-9][0-9]"}}},
    {" bloom poro-chat gpt3-finnish ", 0, {{RECIPE_SPLIT, BLOOM}}},
    {" viking ", 0, {{RECIPE_SPLIT, BLOOM}, {RECIPE_DIGITS, NULL}}},
    {" superbpe ", 0, {{RECIPE_SPLIT, "\\p{N}+"}, {RECIPE_SPLIT, "(?=(\\d{3})+(?!\\d))"}}},
    {" chameleon ",
     ADD_BOS,
     {{RECIPE_SPLIT, "<sentinel:[0-9]+>"},
      {RECIPE_SPLIT, "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"},
      {RECIPE_SPLIT, "([\\t\\n]|    |  )"},
      {RECIPE_DIGITS, NULL},
      {RECIPE_PUNCTUATION, NULL},
      {RECIPE_SPLIT, GPT2}}},
    {" bailingmoe bailingmoe2 llada-moe ",
     0,
     {{RECIPE_SPLIT, "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
                     "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}}},
    {" seed-coder ", 0, {{RECIPE_SPLIT, CONTRACTION "|" WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}}},
    {" ufakzeka ", 0, {{RECIPE_SPLIT, WORD "|\\p{N}|" SYMBOLS "[\\r\\n]*|" SPACES}}},
    {" laguna ", 0, {{RECIPE_SPLIT, "[^\\n]+|[\\n]+"}, {RECIPE_SPLIT, CL100K("\\p{N}")}}},
    {" youtu ",
     IGNORE_MERGES,
     {{RECIPE_SPLIT, "[\uac00-\ud7a3\u3131-\u318e]+|["
                     "\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|"
                     "[\u3105-\u312f]+|" DEEPSEEK_CJK},
      {RECIPE_SPLIT, O200K("\\p{N}")}}},
    {" exaone-moe ",
     0,
     {{RECIPE_SPLIT, CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|" SYMBOLS
                                 "[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}}},
    {" jais-2 ",
     0,
     {{RECIPE_SPLIT, CONTRACTION
       "|" WORD "|\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|"
       "\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}}},
};

const PreRecipe *pre_recipe_find(const char *name, size_t length)
{
    char spaced[64];
    if (length + 3 > sizeof spaced || memchr(name, ' ', length) != NULL || memchr(name, '\0', length) != NULL)
        return NULL;
    spaced[0] = ' ';
    memcpy(spaced + 1, name, length);
    memcpy(spaced + 1 + length, " ", 2);
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        if (strstr(recipes[i].names, spaced) != NULL) return &recipes[i];
    }
    return NULL;
}

/* The class that a step stands for, and what becomes of its members. */
static const struct {
    unsigned property;
    SplitBehavior behavior;
} classes[] = {
    [RECIPE_DIGITS] = {UC_NUMERIC, SPLIT_ISOLATED},
    [RECIPE_DIGIT_RUNS] = {UC_NUMERIC, SPLIT_CONTIGUOUS},
    [RECIPE_PUNCTUATION] = {UC_OLD_PUNCT, SPLIT_ISOLATED},
    [RECIPE_SYMBOL_RUNS] = {UC_OLD_PUNCT, SPLIT_CONTIGUOUS},
};

ImpStatus pre_recipe_apply(const PreRecipe *recipe, PatternCompiler *compiler, PreTokenizer *pre)
{
    for (const RecipeStep *step = recipe->steps; step < recipe->steps + RECIPE_MAX_STEPS && step->kind != RECIPE_END;
         step++) {
        PreStep *added = pre_add_step(pre, step->kind == RECIPE_BYTE_CHARS     ? PRE_BYTE_CHARS
                                           : step->kind == RECIPE_DIGIT_GROUPS ? PRE_DIGIT_GROUPS
                                                                               : PRE_SPLIT);
        if (added == NULL) return IMP_ERR_LIMIT;
        added->behavior = SPLIT_ISOLATED;
        added->unicode = compiler->unicode;
        if (step->kind == RECIPE_SPLIT) {
            IMP_TRY(pattern_regex(compiler, step->pattern, strlen(step->pattern), &added->pattern));
        } else if (added->kind == PRE_SPLIT) {
            added->pattern = pattern_class(compiler->unicode, 0, classes[step->kind].property);
            added->behavior = classes[step->kind].behavior;
        }
    }
    return IMP_OK;
}

bool pre_recipe_ignores_merges(const PreRecipe *recipe) { return (recipe->options & IGNORE_MERGES) != 0; }
bool pre_recipe_normalizes(const PreRecipe *recipe) { return (recipe->options & NFC) != 0; }
bool pre_recipe_adds_bos(const PreRecipe *recipe) { return (recipe->options & ADD_BOS) != 0; }
bool pre_recipe_adds_separator(const PreRecipe *recipe) { return (recipe->options & ADD_SEPARATOR) != 0; }

bool pre_recipe_has_byte_chars(const PreRecipe *recipe)
{
    for (const RecipeStep *step = recipe->steps; step < recipe->steps + RECIPE_MAX_STEPS && step->kind != RECIPE_END;
         step++) {
        if (step->kind == RECIPE_BYTE_CHARS) return true;
    }
    return false;
}
