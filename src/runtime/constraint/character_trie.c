/*
 * character_trie.c - building the trie, and the walk.
 */
#include "runtime/constraint/character_kind.h"
#include "runtime/constraint/character_walk.h"

#include <stdlib.h>

/*
 * Building.
 */
static int compare_code_points(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Every character of the tokens beyond ASCII, once. */
static ImpStatus collect_characters(const TrieToken *tokens, size_t n, CharacterTrie *trie)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < tokens[i].length; k++) count += (unsigned char)tokens[i].bytes[k] >= 0xc0;
    }
    trie->beyond = malloc((count + 1) * sizeof *trie->beyond);
    if (trie->beyond == NULL) return imp_fail_memory(count * sizeof *trie->beyond);
    count = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < tokens[i].length;) {
            const uint32_t c = utf8_next(tokens[i].bytes, tokens[i].length, &at);
            if (c >= 128) trie->beyond[count++] = c;
        }
    }
    qsort(trie->beyond, count, sizeof *trie->beyond, compare_code_points);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || trie->beyond[i] != trie->beyond[i - 1]) trie->beyond[trie->n_beyond++] = trie->beyond[i];
    }
    trie->beyond_kind = malloc((trie->n_beyond + 1) * sizeof *trie->beyond_kind);
    if (trie->beyond_kind == NULL) return imp_fail_memory(trie->n_beyond * sizeof *trie->beyond_kind);
    for (size_t i = 0; i < trie->n_beyond; i++) {
        trie->beyond_kind[i] = character_kind(trie->beyond[i]);
        trie->beyond_kinds |= trie->beyond_kind[i];
    }
    return IMP_OK;
}

static uint32_t character_number(const CharacterTrie *trie, uint32_t code_point)
{
    if (code_point < 128) return code_point;
    const uint32_t *found =
        bsearch(&code_point, trie->beyond, trie->n_beyond, sizeof *trie->beyond, compare_code_points);
    return 128 + (uint32_t)(found - trie->beyond);
}

/* Children come after their parents, so going backwards they are described first. */
static void describe_branches(CharacterTrie *trie)
{
    for (size_t i = trie->n_nodes; i-- > 0;) {
        CharacterNode *node = &trie->nodes[i];
        node->kinds =
            node->character < 128 ? character_kind(node->character) : trie->beyond_kind[node->character - 128];
        node->height = 1;
        for (size_t child = i + 1; child < node->end; child = trie->nodes[child].end) {
            node->kinds |= trie->nodes[child].kinds;
            if (trie->nodes[child].height >= node->height) node->height = (uint16_t)(trie->nodes[child].height + 1);
        }
        if (node->depth > trie->depth) trie->depth = node->depth;
    }
}

/* Each token adds the characters that it does not share with the one before. */
static void add_tokens(const TrieToken *tokens, size_t n, CharacterTrie *trie, uint32_t *open)
{
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        size_t shared = 0;
        uint32_t number = 0;
        trie->order[i] = tokens[i].id;
        while (at < tokens[i].length) {
            number = character_number(trie, utf8_next(tokens[i].bytes, tokens[i].length, &at));
            if (shared == depth || trie->nodes[open[shared]].character != number) break;
            shared++;
            number = UINT32_MAX;
        }
        for (; depth > shared; depth--) trie->nodes[open[depth - 1]].end = (uint32_t)trie->n_nodes;
        while (number != UINT32_MAX) {
            open[depth++] = (uint32_t)trie->n_nodes;
            trie->nodes[trie->n_nodes++] =
                (CharacterNode){.first = (uint32_t)i, .depth = (uint16_t)depth, .character = number};
            if (at == tokens[i].length) break;
            number = character_number(trie, utf8_next(tokens[i].bytes, tokens[i].length, &at));
        }
        trie->lengths[i] = (uint16_t)depth;
    }
    for (; depth > 0; depth--) trie->nodes[open[depth - 1]].end = (uint32_t)trie->n_nodes;
    trie->nodes[trie->n_nodes] = (CharacterNode){.first = (uint32_t)n};
}

ImpStatus character_trie_build(const TrieToken *tokens, size_t n, CharacterTrie *trie)
{
    *trie = (CharacterTrie){0};
    IMP_TRY(collect_characters(tokens, n, trie));
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t shared = 0;
        while (i > 0 && shared < tokens[i].length && shared < tokens[i - 1].length &&
               tokens[i].bytes[shared] == tokens[i - 1].bytes[shared])
            shared++;
        most += tokens[i].length - shared + 1;
    }
    uint32_t *open = malloc(CHARACTER_MAX_DEPTH * sizeof *open); /* the node at each depth of the current path */
    trie->nodes = malloc((most + 1) * sizeof *trie->nodes);
    trie->order = malloc((n + 1) * sizeof *trie->order);
    trie->lengths = malloc((n + 1) * sizeof *trie->lengths);
    const bool there = trie->nodes != NULL && trie->order != NULL && trie->lengths != NULL && open != NULL;
    if (there) add_tokens(tokens, n, trie, open);
    free(open);
    if (!there) return imp_fail_memory(most * sizeof *trie->nodes);
    describe_branches(trie);
    return kind_trie_build(trie, n, &trie->by_kind);
}

void character_trie_free(CharacterTrie *trie)
{
    kind_trie_free(&trie->by_kind);
    free(trie->nodes);
    free(trie->order);
    free(trie->lengths);
    free(trie->beyond);
    free(trie->beyond_kind);
    *trie = (CharacterTrie){0};
}

/*
 * The walk.
 */
/* Those of them that have at most `longest` characters. */
static void allow_short(const CharacterWalk *walk, uint32_t from, uint32_t to, uint32_t longest)
{
    const int32_t *order = walk->trie->order;
    const uint16_t *lengths = walk->trie->lengths;
    for (uint32_t i = from; i < to; i++)
        walk->bits[order[i] / 32] |= (uint32_t)(lengths[i] <= longest) << order[i] % 32;
}

/* Whatever way the branch takes from `state`, behind `characters`, it leads somewhere. */
static bool branch_survives(const CharacterWalk *walk, const Survival *survival, const CharacterNode *node,
                            uint32_t characters)
{
    const StringCursor *cursor = walk->cursor;
    const uint32_t room = cursor->most == DFA_UNBOUNDED ? DFA_UNBOUNDED : cursor->most - characters;
    if (character_walk_lasts(walk, survival->state, characters, node->height, node->kinds)) return true;
    if (node->height > SURVIVAL_DEPTH || (node->kinds & ~survival->within[node->height - 1]) != 0) return false;
    const uint32_t farthest = survival->farthest[node->height - 1];
    return survival->nearest[node->height - 1] <= room &&
           (farthest == DFA_UNBOUNDED || farthest + characters >= cursor->least);
}

/* Decides about the whole branch at once, if that is possible. */
static bool take_branch(const CharacterWalk *walk, const CharacterNode *node, uint32_t state, uint32_t characters)
{
    const StringCursor *cursor = walk->cursor;
    const Survival *survival = character_memo_survival(walk->memo, walk->classes, state);
    if ((node->kinds & ~survival->forever) == 0 && cursor->least <= characters) {
        /* The automaton stays where it is: how much text there is room for is all that counts. */
        const uint32_t shortest = walk->classes->dfa->shortest[state];
        const uint32_t end = walk->trie->nodes[node->end].first;
        if (cursor->most == DFA_UNBOUNDED || characters + node->height + shortest <= cursor->most)
            character_walk_allow(walk, walk->trie->order, node->first, end);
        else
            allow_short(walk, node->first, end, cursor->most - shortest);
        return true;
    }
    if (!branch_survives(walk, survival, node, characters)) return false;
    character_walk_allow(walk, walk->trie->order, node->first, walk->trie->nodes[node->end].first);
    return true;
}

/* Asking about a branch must cost less than walking it. */
enum { LEAST_BRANCH = 12 };

/* All tokens whose first character is of one of the kinds `first`. */
static void walk_nodes(const CharacterWalk *walk, uint64_t first)
{
    const CharacterTrie *trie = walk->trie;
    const Dfa *dfa = walk->classes->dfa;
    const bool beyond_alike = walk->classes->beyond == NULL;
    uint32_t states[CHARACTER_MAX_DEPTH + 1];
    uint32_t ends[CHARACTER_MAX_DEPTH + 1]; /* of the branch at each depth */
    states[0] = walk->cursor->state;
    ends[0] = (uint32_t)trie->n_nodes;
    for (size_t i = 0; i < trie->n_nodes;) {
        const CharacterNode *node = &trie->nodes[i];
        const uint32_t depth = node->depth;
        const uint32_t character = node->character;
        if (depth == 1) {
            /* Characters beyond ASCII come last. */
            if (character >= 128 && (first & trie->beyond_kinds) == 0) break;
            if (((character < 128 ? character_kind(character) : trie->beyond_kind[character - 128]) & first) == 0) {
                i = node->end;
                continue;
            }
        }
        if (node->end - i >= LEAST_BRANCH && take_branch(walk, node, states[depth - 1], depth - 1)) {
            i = node->end;
            continue;
        }
        const uint32_t state =
            dfa->next[(size_t)states[depth - 1] * dfa->n_classes + character_walk_class(walk, character)];
        if (state == DFA_DEAD || (walk->counted && !character_walk_fits(walk, state, depth))) {
            /* Where all characters beyond ASCII are alike none of the others needs to be tried. */
            i = character >= 128 && beyond_alike ? ends[depth - 1] : node->end;
            continue;
        }
        states[depth] = state;
        ends[depth] = node->end;
        character_walk_allow(walk, walk->trie->order, node->first, node[1].first);
        i = depth < walk->cursor->most ? i + 1 : node->end;
    }
}

bool character_trie_walk(const CharacterTrie *trie, CharacterMemo *memo, const StringCursor *cursor, uint32_t *bits)
{
    const AutomatonClasses *classes = character_memo_classes(memo, trie, cursor->dfa);
    const CharacterWalk walk = {
        .trie = trie,
        .classes = classes,
        .cursor = cursor,
        .memo = memo,
        .bits = bits,
        .counted = cursor->least > 0 || cursor->most != DFA_UNBOUNDED,
        .line_ends = character_kind('\n') | character_kind('\r') | character_kind(0x2028) | character_kind(0x2029),
    };
    uint64_t mixed = 0;
    if (classes == NULL) return false;
    kind_trie_walk(&walk, &mixed);
    if (mixed != 0) walk_nodes(&walk, mixed);
    return true;
}
