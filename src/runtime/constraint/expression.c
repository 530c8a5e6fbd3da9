/*
 * expression.c - from the syntax tree to a deterministic automaton.
 *
 * Nodes are added from the end of the pattern to its start, each knowing what follows it. What looks ahead or behind becomes an
 * automaton of its own, which runs along with the whole (nfa.c); a word border is a choice of two pairs of such.
 */
#include "runtime/constraint/expression.h"
#include "runtime/constraint/expression_syntax.h"

enum { MAX_NODES = 200000, MAX_STATES = 100000, MAX_LOOK_DEPTH = 8, MAX_KNOWN = 64 };

typedef struct ExpressionBuild {
    Nfa nfa;
    Arena *scratch;
    uint32_t any;    /* number of the set of all characters */
    uint32_t accept; /* the node behind the pattern */
    size_t depth;    /* inside how many looks */
    /* Looks that have a number: in the copies of a repetition they are the same. */
    struct {
        const ExpressionNode *inner;
        bool behind, negated;
        uint32_t number;
    } known[MAX_KNOWN];
    size_t n_known;
    ExpressionNode *word; /* what borders look for, once made */
} ExpressionBuild;

static ImpStatus add_node(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry);

/* The nodes of one copy of an optional body: those of the copy with the most to come, which has the lowest rank, stand for the same
 * nodes of all others. */
static void rank_copy(Nfa *nfa, size_t first, uint32_t family, uint32_t left)
{
    for (size_t i = first; i < nfa->n_nodes; i++) {
        const uint32_t own = family + (uint32_t)(i - first) + 1;
        if (nfa->nodes[i].family == 0) {
            nfa->nodes[i].family = own;
            nfa->nodes[i].rank = left;
        }
        if (own > nfa->n_families) nfa->n_families = own;
    }
}

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
        uint32_t family = 0;
        for (uint32_t i = node->min; i < node->max; i++) {
            const size_t first = build->nfa.n_nodes;
            IMP_TRY(add_node(build, body, at, &at));
            if (i == node->min) family = build->nfa.n_families; /* behind those of what is inside */
            rank_copy(&build->nfa, first, family, node->max - i);
            IMP_TRY(nfa_add(&build->nfa, NFA_SPLIT, next, at, &at));
        }
    }
    for (uint32_t i = 0; i < node->min; i++) IMP_TRY(add_node(build, body, at, &at));
    *entry = at;
    return IMP_OK;
}

static ImpStatus determinize_part(const ExpressionBuild *outer, const ExpressionNode *part, bool behind, bool at_start,
                                  const Dfa **out);

static bool has_kind(const ExpressionNode *node, ExpressionKind first, ExpressionKind last)
{
    bool found = node->kind >= first && node->kind <= last;
    for (size_t i = 0; i < node->n_parts; i++) found = found || has_kind(node->parts[i], first, last);
    return found;
}

static ImpStatus refuse_texts(const ExpressionBuild *build, const Dfa **dfa)
{
    const Dfa *refused = *dfa;
    return dfa_combine(build->scratch, NULL, 0, &refused, 1, MAX_STATES, dfa);
}

/* What follows must begin with the look-ahead, or must not. */
static ImpStatus make_ahead(ExpressionBuild *build, const ExpressionNode *inner, bool negated, NfaLook *look)
{
    if (has_kind(inner, EXPRESSION_BEHIND, EXPRESSION_NOT_BORDER))
        return imp_fail(IMP_ERR_UNSUPPORTED, "pattern, byte %zu: a look-behind or word border inside a look-ahead", inner->at);
    IMP_TRY(determinize_part(build, inner, false, false, &look->dfa));
    if (negated) IMP_TRY(refuse_texts(build, &look->dfa));
    look->at_start = look->dfa;
    if (!has_kind(inner, EXPRESSION_START, EXPRESSION_START)) return IMP_OK;
    IMP_TRY(determinize_part(build, inner, false, true, &look->at_start));
    return negated ? refuse_texts(build, &look->at_start) : IMP_OK;
}

/* What was read must end with the look-behind, or must not. */
static ImpStatus make_behind(ExpressionBuild *build, const ExpressionNode *inner, bool negated, NfaLook *look)
{
    if (build->depth > 0 || has_kind(inner, EXPRESSION_DOLLAR, EXPRESSION_NOT_BORDER))
        return imp_fail(IMP_ERR_UNSUPPORTED, "pattern, byte %zu: an end or another look inside a look-behind", inner->at);
    look->behind = true;
    look->negated = negated;
    return determinize_part(build, inner, true, true, &look->dfa);
}

static ImpStatus add_look(ExpressionBuild *build, const ExpressionNode *inner, bool behind, bool negated, uint32_t next,
                          uint32_t *entry)
{
    NfaLook look = {0};
    uint32_t number = UINT32_MAX;
    for (size_t i = 0; i < build->n_known; i++) {
        if (build->known[i].inner == inner && build->known[i].behind == behind && build->known[i].negated == negated)
            number = build->known[i].number;
    }
    if (number == UINT32_MAX) {
        if (behind) IMP_TRY(make_behind(build, inner, negated, &look));
        else IMP_TRY(make_ahead(build, inner, negated, &look));
        IMP_TRY(nfa_add_look(&build->nfa, look, &number));
        if (build->n_known < MAX_KNOWN) {
            build->known[build->n_known].inner = inner;
            build->known[build->n_known].behind = behind;
            build->known[build->n_known].negated = negated;
            build->known[build->n_known++].number = number;
        }
    }
    return nfa_add(&build->nfa, behind ? NFA_BEHIND : NFA_AHEAD, next, number, entry);
}

/* A border: a word on one side of it only. No border: on both sides or on none. */
static ImpStatus add_border(ExpressionBuild *build, const ExpressionNode *node, bool negated, uint32_t next, uint32_t *entry)
{
    uint32_t ways[2];
    if (build->word == NULL) {
        build->word = arena_alloc(build->scratch, 1, sizeof *build->word);
        if (build->word == NULL) return imp_fail_memory(sizeof *build->word);
        *build->word = (ExpressionNode){.kind = EXPRESSION_SET, .at = node->at};
        IMP_TRY(charset_add_class(build->scratch, &build->word->set, 'w'));
        charset_finish(&build->word->set);
    }
    for (int i = 0; i < 2; i++) {
        const bool behind = i == 0;
        IMP_TRY(add_look(build, build->word, false, behind != negated, next, &ways[i]));
        IMP_TRY(add_look(build, build->word, true, !behind, ways[i], &ways[i]));
    }
    return nfa_add(&build->nfa, NFA_SPLIT, ways[0], ways[1], entry);
}

static ImpStatus add_sequence(ExpressionBuild *build, const ExpressionNode *node, uint32_t next, uint32_t *entry)
{
    uint32_t at = next;
    for (size_t i = node->n_parts; i-- > 0;) IMP_TRY(add_node(build, node->parts[i], at, &at));
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
    case EXPRESSION_NOT_AHEAD: return add_look(build, node->parts[0], false, node->kind == EXPRESSION_NOT_AHEAD, next, entry);
    case EXPRESSION_BEHIND:
    case EXPRESSION_NOT_BEHIND: return add_look(build, node->parts[0], true, node->kind == EXPRESSION_NOT_BEHIND, next, entry);
    case EXPRESSION_BORDER:
    case EXPRESSION_NOT_BORDER: return add_border(build, node, node->kind == EXPRESSION_NOT_BORDER, next, entry);
    }
    return imp_fail(IMP_ERR_INTERNAL, "an unknown kind of expression");
}

/* A node that reads any character and goes back to *from, which becomes a choice between what it was and that. */
static ImpStatus add_any_loop(ExpressionBuild *build, uint32_t *from)
{
    uint32_t loop = 0;
    IMP_TRY(nfa_add(&build->nfa, NFA_CHARS, NFA_NONE, build->any, &loop));
    IMP_TRY(nfa_add(&build->nfa, NFA_SPLIT, *from, loop, from));
    build->nfa.nodes[loop].a = *from;
    return IMP_OK;
}

/* Starts an automaton whose acceptance is `accept`, followed by anything when searching. */
static ImpStatus begin(ExpressionBuild *build, Arena *scratch, bool search)
{
    *build = (ExpressionBuild){.scratch = scratch};
    nfa_init(&build->nfa, scratch, MAX_NODES);
    CharSet any = {0};
    IMP_TRY(charset_add(scratch, &any, 0, CODE_POINT_MAX));
    IMP_TRY(nfa_add_set(&build->nfa, &any, &build->any));
    IMP_TRY(nfa_add(&build->nfa, NFA_ACCEPT, 1, NFA_NONE, &build->accept));
    if (!search) return IMP_OK;
    IMP_TRY(add_any_loop(build, &build->accept));
    build->nfa.forever = build->accept;
    return IMP_OK;
}

/* The automaton of a part: of texts that begin with it, or (behind) end with it. */
static ImpStatus determinize_part(const ExpressionBuild *outer, const ExpressionNode *part, bool behind, bool at_start,
                                  const Dfa **out)
{
    ExpressionBuild build;
    uint32_t at = 0;
    if (outer->depth == MAX_LOOK_DEPTH)
        return imp_fail(IMP_ERR_LIMIT, "pattern: look-aheads are nested more than %d deep", MAX_LOOK_DEPTH);
    ImpStatus status = begin(&build, outer->scratch, !behind);
    build.depth = outer->depth + 1;
    if (status == IMP_OK) status = add_node(&build, part, build.accept, &at);
    if (status == IMP_OK && behind) status = add_any_loop(&build, &at);
    if (status == IMP_OK) status = nfa_determinize(&build.nfa, at, at_start, MAX_STATES, outer->scratch, out);
    nfa_free(&build.nfa);
    return status;
}

ImpStatus expression_compile(Arena *arena, const char *pattern, size_t length, ExpressionMode mode, const Dfa **out)
{
    Arena scratch = {.limit = 256U << 20};
    ExpressionBuild build = {0};
    ExpressionNode *tree = NULL;
    uint32_t start = 0;
    ImpStatus status = expression_parse(&scratch, pattern, length, &tree);
    if (status == IMP_OK) status = begin(&build, &scratch, mode == EXPRESSION_SEARCH);
    if (status == IMP_OK) status = add_node(&build, tree, build.accept, &start);
    /* The match may start anywhere: read any character and try again. */
    if (status == IMP_OK && mode == EXPRESSION_SEARCH) status = add_any_loop(&build, &start);
    if (status == IMP_OK) status = nfa_determinize(&build.nfa, start, true, MAX_STATES, arena, out);
    nfa_free(&build.nfa);
    arena_free(&scratch);
    return status;
}
