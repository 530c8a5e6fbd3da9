/*
 * test_character_trie.c - walks with automata allow exactly the tokens that lead somewhere, whatever the branches are made of and
 * however long the text may still grow.
 */
#include "cmocka_all.h"
#include "runtime/constraint/character_trie.h"
#include "runtime/constraint/expression.h"
#include "runtime/constraint/token_letters.h"

#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 3000, MAX_BYTES = 64 };

static char texts[N_TOKENS][MAX_BYTES];
static TrieToken tokens[N_TOKENS];
static uint32_t seed = 7;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 8) % below;
}

static int compare(const void *left, const void *right)
{
    return strcmp(((const TrieToken *)left)->bytes, ((const TrieToken *)right)->bytes);
}

/* Words of one kind of characters mostly, some mixed, some long. */
static void make_tokens(void)
{
    static const char *const letters[] = {"a", "b", "c", "z", "A", "Q", "0", "1", "9", "-", ".", ":", "/", "@", " ", "é", "中", "я", "😀"};
    static const uint32_t from[] = {0, 0, 4, 6, 9, 14, 15, 0};
    static const uint32_t count[] = {4, 6, 2, 3, 5, 1, 4, 19};
    for (size_t i = 0; i < N_TOKENS; i++) {
        const uint32_t kind = draw(8);
        const uint32_t length = 1 + (draw(20) == 0 ? draw(15) : draw(5));
        for (uint32_t k = 0; k < length; k++) strcat(texts[i], letters[from[kind] + draw(count[kind])]);
        tokens[i] = (TrieToken){texts[i], strlen(texts[i]), (int32_t)i};
    }
    qsort(tokens, N_TOKENS, sizeof tokens[0], compare);
}

static bool leads_somewhere(const StringCursor *cursor, const TrieToken *token)
{
    uint32_t state = cursor->state;
    uint32_t characters = 0;
    for (size_t at = 0; at < token->length; characters++)
        state = dfa_step(cursor->dfa, state, utf8_next(token->bytes, token->length, &at));
    if (characters > cursor->most) return false;
    const uint32_t least = cursor->least > characters ? cursor->least - characters : 0;
    return dfa_within(cursor->dfa, state, least, cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters);
}

static void check_walk(const CharacterTrie *trie, CharacterMemo *memo, const StringCursor *cursor)
{
    uint32_t bits[N_TOKENS / 32 + 1] = {0};
    assert_true(character_trie_walk(trie, memo, cursor, bits));
    for (size_t i = 0; i < N_TOKENS; i++) {
        const int32_t id = tokens[i].id;
        if ((bits[id / 32] >> id % 32 & 1) != (uint32_t)leads_somewhere(cursor, &tokens[i]))
            fail_msg("token \"%s\" in state %u, %u to %u characters", tokens[i].bytes, cursor->state, cursor->least, cursor->most);
    }
}

static void test_against_every_token(void **unused)
{
    static const char *const patterns[] = {
        "[a-z]+", "[^:@]*", "[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?", "[\\s\\S]*@[\\s\\S]*\\.[\\s\\S]*", "(?:[a-c]{3}:)*",
        "\\w{1,12}", "[\\u0020-\\u00ff]*", "[a-z]+@[a-z]+", "(?:ab|ba|[A-Z].*)*", "[^\\s@]+@[^\\s@]+", "[\\u4e00-\\u9fff]+", ".{0,9}", "0*1?"};
    (void)unused;
    CharacterTrie trie;
    make_tokens();
    assert_int_equal(character_trie_build(tokens, N_TOKENS, &trie), IMP_OK);
    CharacterMemo *memo = character_memo_create();
    Arena arena = {0};
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        const Dfa *dfa = NULL;
        const Dfa *with_lengths = NULL;
        assert_int_equal(expression_compile(&arena, patterns[p], strlen(patterns[p]), EXPRESSION_WHOLE, &dfa), IMP_OK);
        assert_int_equal(dfa_with_lengths(&arena, dfa, 9, &with_lengths), IMP_OK);
        for (uint32_t state = 1; state < dfa->n_states; state++) {
            const StringCursor cursor = {.dfa = dfa, .state = state, .most = DFA_UNBOUNDED};
            check_walk(&trie, memo, &cursor);
            for (int k = 0; k < 6; k++) {
                const StringCursor counted = {.dfa = with_lengths, .state = state, .least = draw(10), .most = draw(25)};
                if (dfa_within(with_lengths, state, counted.least, counted.most)) check_walk(&trie, memo, &counted);
                const StringCursor bounded = {.dfa = dfa, .state = state, .most = draw(12)};
                if (dfa_within(dfa, state, 0, bounded.most)) check_walk(&trie, memo, &bounded);
            }
        }
    }
    arena_free(&arena);
    character_memo_free(memo);
    character_trie_free(&trie);
}

/* What lacks the letters that break a pattern is allowed at once; nothing that breaks it is. */
static void test_letters(void **unused)
{
    static const char *const patterns[] = {"[^b]*", "[^bQ9]*", "(?:(?!ab|ca)[\\s\\S])*", "(?:(?!abc|zc|1:)[\\s\\S])*", "[^abc]*ab[\\s\\S]*",
                                           "(?![\\s\\S]*ab[\\s\\S]*zc)[\\s\\S]*", "[a-z]+", "(?:(?!я|zz).)*"};
    uint32_t all[N_TOKENS / 32 + 1];
    size_t useful = 0;
    (void)unused;
    CharacterTrie trie;
    TokenLetters letters;
    memset(all, 0xff, sizeof all);
    assert_int_equal(character_trie_build(tokens, N_TOKENS, &trie), IMP_OK);
    assert_int_equal(token_letters_build(tokens, N_TOKENS, N_TOKENS / 32 + 1, &letters), IMP_OK);
    CharacterMemo *memo = character_memo_create();
    Arena arena = {0};
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        const Dfa *dfa = NULL;
        assert_int_equal(expression_compile(&arena, patterns[p], strlen(patterns[p]), EXPRESSION_WHOLE, &dfa), IMP_OK);
        const AutomatonClasses *classes = character_memo_classes(memo, &trie, dfa);
        assert_non_null(classes);
        for (uint32_t state = 1; state < dfa->n_states; state++) {
            const StringCursor cursor = {.dfa = dfa, .state = state, .most = DFA_UNBOUNDED};
            uint32_t bits[N_TOKENS / 32 + 1] = {0};
            uint32_t scratch[N_TOKENS / 32 + 1];
            if (!token_letters_allow(&letters, classes, trie.beyond_kinds, state, all, N_TOKENS, scratch, bits)) continue;
            useful++;
            for (size_t i = 0; i < N_TOKENS; i++) {
                const bool allowed = (bits[tokens[i].id / 32] >> tokens[i].id % 32 & 1) != 0;
                if (allowed && !leads_somewhere(&cursor, &tokens[i])) fail_msg("%s takes \"%s\"", patterns[p], tokens[i].bytes);
                if (p == 0) assert_int_equal(allowed, strchr(tokens[i].bytes, 'b') == NULL);
            }
        }
    }
    assert_true(useful >= 8);
    arena_free(&arena);
    character_memo_free(memo);
    token_letters_free(&letters);
    character_trie_free(&trie);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_every_token), cmocka_unit_test(test_letters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
