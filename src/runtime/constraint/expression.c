/*
 * expression.c - from the syntax tree to a deterministic automaton.
 *
 * Nodes are added from the end of the pattern to its start, each knowing what follows it. A look-ahead in a sequence is an
 * intersection: what follows it must match the rest of the sequence (and whatever follows that, to the end of the text) and
 * must, or must not, begin with the look-ahead. That works where "whatever follows" is the end of the pattern, so a look-ahead
 * may stand in the branches of the outermost choice, not inside a group that is followed by something or repeated.
 */
#include "runtime/constraint/expression.h"
#include "runtime/constraint/expression_syntax.h"

enum { MAX_NODES = 200000, MAX_STATES = 30000, MAX_LOOKS = 16 };

typedef struct ExpressionBuild {
    Nfa nfa;
    Arena *scratch;
    uint32_t any;    /* number of the set of all characters */
    uint32_t accept; /* the node behind the pattern */
    bool search;     /* anything may follow */
    size_t depth;
} ExpressionBuild;

static ImpStatus add_node(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry);

/* Loops at most once around a body that can match the empty text: the closure of sets of nodes ends anyway. */
static ImpStatus add_repeat(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry)
{
    const ExpressionNode *body = node->parts[0];
    uint32_t at = next;
    if (node->max == EXPRESSION_FOREVER) {
        uint32_t loop = 0;
        uint32_t inner = 0;
        IMP_TRY(nfa_add(&build->nfa, NFA_SPLIT, next, NFA_NONE, &loop));
        IMP_TRY(add_node(build, body, loop, &inner));
        build->nfa.nodes[loop].b = inner;
        at = loop;
    } else {
        for (uint32_t i = node->min; i < node->max; i++) {
            IMP_TRY(add_node(build, body, at, &at));
            IMP_TRY(nfa_add(&build->nfa, NFA_SPLIT, next, at, &at));
        }
    }
    for (uint32_t i = 0; i < node->min; i++) IMP_TRY(add_node(build, body, at, &at));
    *entry = at;
    return IMP_OK;
}

static ImpStatus determinize_part(const ExpressionBuild *outer, const ExpressionNode *const *parts, size_t n_parts, bool search,
                                  const Dfa **out);

static bool asks_for_start(const ExpressionNode *node)
{
    bool found = node->kind == EXPRESSION_START;
    for (size_t i = 0; i < node->n_parts; i++) found = found || asks_for_start(node->parts[i]);
    return found;
}

/* parts[first] is a look-ahead, as may be some that follow it: the texts that satisfy them and the rest of the sequence. */
static ImpStatus add_looks(ExpressionBuild *build, const ExpressionNode *sequence, size_t first, uint32_t *entry)
{
    const Dfa *required[MAX_LOOKS + 1];
    const Dfa *refused[MAX_LOOKS];
    size_t n_required = 0;
    size_t n_refused = 0;
    size_t i = first;
    for (; i < sequence->n_parts; i++) {
        const ExpressionNode *look = sequence->parts[i];
        if (asks_for_start(look)) return imp_fail(IMP_ERR_UNSUPPORTED, "pattern, byte %zu: ^ in a look-ahead", look->at);
        if (look->kind != EXPRESSION_AHEAD && look->kind != EXPRESSION_NOT_AHEAD) break;
        if (i - first == MAX_LOOKS)
            return imp_fail(IMP_ERR_LIMIT, "pattern, byte %zu: more than %d look-aheads", look->at, MAX_LOOKS);
        const Dfa **slot = look->kind == EXPRESSION_AHEAD ? &required[n_required++] : &refused[n_refused++];
        IMP_TRY(determinize_part(build, (const ExpressionNode *const *)look->parts, 1, true, slot));
    }
    for (size_t k = i; k < sequence->n_parts; k++) {
        if (asks_for_start(sequence->parts[k]))
            return imp_fail(IMP_ERR_UNSUPPORTED, "pattern, byte %zu: ^ behind a look-ahead", sequence->parts[k]->at);
    }
    IMP_TRY(determinize_part(build, (const ExpressionNode *const *)sequence->parts + i, sequence->n_parts - i, build->search,
                             &required[n_required++]));
    const Dfa *both = NULL;
    IMP_TRY(dfa_combine(build->scratch, required, n_required, refused, n_refused, MAX_STATES, &both));
    uint32_t end = 0;
    uint32_t accept = 0;
    IMP_TRY(nfa_add(&build->nfa, NFA_ACCEPT, 1, NFA_NONE, &accept));
    IMP_TRY(nfa_add(&build->nfa, NFA_END, accept, NFA_NONE, &end));
    return nfa_embed(&build->nfa, both, end, entry);
}

static ImpStatus add_sequence(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry)
{
    size_t n = node->n_parts;
    uint32_t at = next;
    for (size_t i = 0; i < node->n_parts; i++) {
        const ExpressionNode *part = node->parts[i];
        if (part->kind != EXPRESSION_AHEAD && part->kind != EXPRESSION_NOT_AHEAD) continue;
        if (next != build->accept)
            return imp_fail(IMP_ERR_UNSUPPORTED, "pattern, byte %zu: a look-ahead inside a group is not supported",
                            part->at);
        IMP_TRY(add_looks(build, node, i, &at));
        n = i;
        break;
    }
    for (size_t i = n; i-- > 0;) IMP_TRY(add_node(build, node->parts[i], at, &at));
    *entry = at;
    return IMP_OK;
}

static ImpStatus add_choice(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry)
{
    uint32_t chain = NFA_NONE;
    for (size_t i = node->n_parts; i-- > 0;) {
        uint32_t branch = 0;
        IMP_TRY(add_node(build, node->parts[i], next, &branch));
        IMP_TRY(nfa_add(&build->nfa, NFA_SPLIT, branch, chain, &chain));
    }
    *entry = chain;
    return IMP_OK;
}

static ImpStatus add_node(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry)
{
    uint32_t set = 0;
    switch (node->kind) {
    case EXPRESSION_SET:
        IMP_TRY(nfa_add_set(&build->nfa, &node->set, &set));
        return nfa_add(&build->nfa, NFA_CHARS, next, set, entry);
    case EXPRESSION_SEQUENCE: return add_sequence(build, node, next, entry);
    case EXPRESSION_CHOICE: return add_choice(build, node, next, entry);
    case EXPRESSION_REPEAT: return add_repeat(build, node, next, entry);
    case EXPRESSION_START: return nfa_add(&build->nfa, NFA_START, next, NFA_NONE, entry);
    case EXPRESSION_DOLLAR: return nfa_add(&build->nfa, NFA_DOLLAR, next, NFA_NONE, entry);
    case EXPRESSION_END: return nfa_add(&build->nfa, NFA_END, next, NFA_NONE, entry);
    case EXPRESSION_AHEAD:
    case EXPRESSION_NOT_AHEAD: break;
    }
    return imp_fail(IMP_ERR_INTERNAL, "a look-ahead outside a sequence");
}

/* Starts an automaton whose acceptance is `accept`, followed by anything when searching. */
static ImpStatus begin(ExpressionBuild *build, Arena *scratch, bool search)
{
    *build = (ExpressionBuild){.scratch = scratch, .search = search};
    nfa_init(&build->nfa, scratch, MAX_NODES);
    CharSet any = {0};
    IMP_TRY(charset_add(scratch, &any, 0, CODE_POINT_MAX));
    IMP_TRY(nfa_add_set(&build->nfa, &any, &build->any));
    IMP_TRY(nfa_add(&build->nfa, NFA_ACCEPT, 1, NFA_NONE, &build->accept));
    if (search) {
        uint32_t loop = 0;
        IMP_TRY(nfa_add(&build->nfa, NFA_CHARS, NFA_NONE, build->any, &loop));
        IMP_TRY(nfa_add(&build->nfa, NFA_SPLIT, build->accept, loop, &build->accept));
        build->nfa.nodes[loop].a = build->accept;
    }
    return IMP_OK;
}

/* The automaton of parts[n] in order, matched at the start of the text. */
static ImpStatus determinize_part(const ExpressionBuild *outer, const ExpressionNode *const *parts, size_t n_parts, bool search,
                                  const Dfa **out)
{
    ExpressionBuild build;
    uint32_t at = 0;
    if (outer->depth == 8) return imp_fail(IMP_ERR_LIMIT, "look-aheads are nested more than 8 deep");
    ImpStatus status = begin(&build, outer->scratch, search);
    build.depth = outer->depth + 1;
    if (status == IMP_OK) {
        const ExpressionNode sequence = {.kind = EXPRESSION_SEQUENCE, .n_parts = n_parts, .parts = (ExpressionNode **)(uintptr_t)parts};
        status = add_sequence(&build, &sequence, build.accept, &at);
    }
    if (status == IMP_OK) status = nfa_determinize(&build.nfa, at, MAX_STATES, outer->scratch, out);
    nfa_free(&build.nfa);
    return status;
}

ImpStatus expression_compile(Arena *arena, const char *pattern, size_t length, ExpressionMode mode, const Dfa **out)
{
    Arena scratch = {.limit = 256U << 20};
    ExpressionBuild build = {0};
    ExpressionNode *tree = NULL;
    uint32_t start = 0;
    uint32_t loop = 0;
    ImpStatus status = expression_parse(&scratch, pattern, length, &tree);
    if (status == IMP_OK) status = begin(&build, &scratch, mode == EXPRESSION_SEARCH);
    if (status == IMP_OK) status = add_node(&build, tree, build.accept, &start);
    if (status == IMP_OK && mode == EXPRESSION_SEARCH) {
        /* The match may start anywhere: read any character and try again. */
        status = nfa_add(&build.nfa, NFA_CHARS, NFA_NONE, build.any, &loop);
        if (status == IMP_OK) status = nfa_add(&build.nfa, NFA_SPLIT, start, loop, &start);
        if (status == IMP_OK) build.nfa.nodes[loop].a = start;
    }
    if (status == IMP_OK) status = nfa_determinize(&build.nfa, start, MAX_STATES, arena, out);
    nfa_free(&build.nfa);
    arena_free(&scratch);
    return status;
}
