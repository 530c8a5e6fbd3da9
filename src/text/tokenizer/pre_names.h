/*
 * pre_names.h - what the names under GGUF's tokenizer.ggml.pre stand for: the pre-tokenizer of the model's own
 * tokenizer.json.
 */
#ifndef IMP_TEXT_PRE_NAMES_H
#define IMP_TEXT_PRE_NAMES_H

#include "text/tokenizer/pretokenizer.h"

typedef struct PreRecipe PreRecipe;

/* NULL when the name is unknown. */
const PreRecipe *pre_recipe_find(const char *name, size_t length);

/* Appends the recipe's steps. */
ImpStatus pre_recipe_apply(const PreRecipe *recipe, PatternCompiler *compiler, PreTokenizer *pre);

/* A word that is a token stays whole, whatever the merges say. */
bool pre_recipe_ignores_merges(const PreRecipe *recipe);
/* A step turns bytes into byte-level characters, and further steps follow: the model sees characters. */
bool pre_recipe_has_byte_chars(const PreRecipe *recipe);
/* The text is brought to NFC first. */
bool pre_recipe_normalizes(const PreRecipe *recipe);
/* BOS is added when the file does not say. */
bool pre_recipe_adds_bos(const PreRecipe *recipe);
/* The separator is added behind the text when the file does not say. */
bool pre_recipe_adds_separator(const PreRecipe *recipe);

#endif
