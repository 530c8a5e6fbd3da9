/*
 * character_kind.h - a coarse partition of all characters into 64 kinds: what a branch of a trie is made of, and what a
 * state of an automaton lets through, are sets of kinds that can be compared at once.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_CHARACTER_KIND_H
#define IMP_RUNTIME_CONSTRAINT_CHARACTER_KIND_H

#include <stdint.h>

/* The kind of a code point as one bit. Patterns mostly take all characters of a kind or none. */
uint64_t character_kind(uint32_t code_point);

#endif
