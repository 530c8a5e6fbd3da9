/*
 * nfa.c - nondeterministic automata and their determinization by sets of nodes.
 *
 * The end anchors read nothing but restrict what follows: a member of a set is a node together with a promise, PROMISE_END
 * (nothing follows) or PROMISE_NEWLINE (nothing but one newline follows). A look-ahead is a promise too: an automaton that has to
 * accept the rest of the text runs along with the member that passed it. What looks behind runs from the start of the text, beside
 * all members. The work is bounded, so that a hostile pattern is refused and not endured.
 *
 * Two things keep the sets small where patterns count: of the copies of an optional repetition only the one with most to come is
 * kept, and a member behind which everything is accepted stands for all.
 */
#include "runtime/constraint/dfa.h"
#include "runtime/constraint/dfa_build.h"
#include "runtime/constraint/json_value.h"

#include <stdlib.h>
#include <string.h>

enum { PROMISE_NONE, PROMISE_NEWLINE, PROMISE_END, N_PROMISES };
enum { MAX_SETS = 4096, MAX_WORK = 4 * 1000 * 1000, MAX_LOOKS = 16, MAX_TASKS = 8, MAX_TASK_LISTS = 20000 };

void nfa_init(Nfa *nfa, Arena *arena, size_t max_nodes)
{
    *nfa = (Nfa){.arena = arena, .max_nodes = max_nodes, .forever = NFA_NONE};
}

void nfa_free(Nfa *nfa)
{
    free(nfa->nodes);
    free(nfa->sets);
    *nfa = (Nfa){0};
}

ImpStatus nfa_add(Nfa *nfa, NfaKind kind, uint32_t a, uint32_t b, uint32_t *out)
{
    if (nfa->n_nodes >= nfa->max_nodes)
        return imp_fail(IMP_ERR_LIMIT, "the pattern is too large: more than %zu steps", nfa->max_nodes);
    if (nfa->n_nodes == nfa->node_capacity) {
        const size_t capacity = nfa->node_capacity * 2 + 64;
        NfaNode *grown = realloc(nfa->nodes, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        nfa->nodes = grown;
        nfa->node_capacity = capacity;
    }
    *out = (uint32_t)nfa->n_nodes;
    nfa->nodes[nfa->n_nodes++] = (NfaNode){.kind = kind, .a = a, .b = b};
    return IMP_OK;
}

ImpStatus nfa_add_set(Nfa *nfa, const CharSet *set, uint32_t *out)
{
    for (size_t i = 0; i < nfa->n_sets; i++) {
        if (nfa->sets[i].count != set->count) continue;
        if (set->count == 0 || memcmp(nfa->sets[i].ranges, set->ranges, set->count * sizeof *set->ranges) == 0) {
            *out = (uint32_t)i;
            return IMP_OK;
        }
    }
    if (nfa->n_sets == MAX_SETS) return imp_fail(IMP_ERR_LIMIT, "the pattern has more than %d character sets", MAX_SETS);
    if (nfa->n_sets == nfa->set_capacity) {
        const size_t capacity = nfa->set_capacity * 2 + 16;
        CharSet *grown = realloc(nfa->sets, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        nfa->sets = grown;
        nfa->set_capacity = capacity;
    }
    *out = (uint32_t)nfa->n_sets;
    nfa->sets[nfa->n_sets++] = *set;
    return IMP_OK;
}

/* The characters of each class of an automaton as sets, so that the classes of the whole can tell them apart. */
static ImpStatus add_classes(Nfa *nfa, const Dfa *dfa)
{
    for (uint32_t c = 0; c < dfa->n_classes; c++) {
        CharSet set = {0};
        uint32_t number = 0;
        for (uint32_t i = 0; i < dfa->n_bounds; i++) {
            const uint32_t high = i + 1 < dfa->n_bounds ? dfa->bounds[i + 1] - 1 : CODE_POINT_MAX;
            if (dfa->bound_class[i] == c) IMP_TRY(charset_add(nfa->arena, &set, dfa->bounds[i], high));
        }
        IMP_TRY(nfa_add_set(nfa, &set, &number));
    }
    return IMP_OK;
}

ImpStatus nfa_add_look(Nfa *nfa, NfaLook look, uint32_t *out)
{
    for (size_t i = 0; i < nfa->n_looks; i++) {
        const NfaLook *known = &nfa->looks[i];
        if (known->dfa != look.dfa || known->at_start != look.at_start || known->negated != look.negated) continue;
        *out = (uint32_t)i;
        return IMP_OK;
    }
    if (nfa->n_looks == MAX_LOOKS) return imp_fail(IMP_ERR_LIMIT, "the pattern looks around more than %d times", MAX_LOOKS);
    if (nfa->looks == NULL) nfa->looks = arena_alloc(nfa->arena, MAX_LOOKS, sizeof *nfa->looks);
    if (nfa->looks == NULL) return imp_fail_memory(MAX_LOOKS * sizeof *nfa->looks);
    IMP_TRY(add_classes(nfa, look.dfa));
    if (look.at_start != look.dfa && !look.behind) IMP_TRY(add_classes(nfa, look.at_start));
    *out = (uint32_t)nfa->n_looks;
    nfa->looks[nfa->n_looks++] = look;
    return IMP_OK;
}

/* An automaton that runs along, and the state it is in. */
typedef struct Task {
    uint16_t look;
    bool at_start; /* which automaton of the look */
    uint32_t state;
} Task;

/* Tasks of one member, in order. */
typedef struct TaskList {
    size_t count;
    Task tasks[MAX_TASKS];
} TaskList;

/* The set of members that one deterministic state stands for, while it is collected. A member is a node with a promise
 * (node * N_PROMISES + promise) and, in the upper half, the number of its list of tasks, 0 for none. */
typedef struct Subset {
    uint64_t *members;
    size_t count, capacity;
    uint64_t *stack;
    size_t depth, stack_capacity;
    uint32_t *mark; /* [pairs] generation in which the pair was last added without tasks */
    uint64_t *seen; /* members with tasks that were added in this generation */
    size_t n_seen, seen_capacity;
    uint32_t generation;
    uint64_t work;
    TaskList *lists; /* [n_lists], list 0 is empty */
    size_t n_lists, list_capacity;
    uint32_t behind[MAX_LOOKS]; /* states of the automata that look behind */
    uint32_t *key;
    size_t key_capacity;
    ImpStatus status;
} Subset;

static bool reserve(Subset *subset, void **memory, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return true;
    const size_t larger = *capacity * 2 + 64;
    void *grown = subset->status == IMP_OK ? realloc(*memory, larger * size) : NULL;
    if (grown == NULL) {
        if (subset->status == IMP_OK) subset->status = imp_fail_memory(larger * size);
        return false;
    }
    *memory = grown;
    *capacity = larger;
    return true;
}

static uint64_t member_of(uint32_t pair, uint32_t list) { return (uint64_t)list << 32 | pair; }

static void subset_add(Subset *subset, uint32_t pair, uint32_t list)
{
    const uint64_t member = member_of(pair, list);
    if (list == 0) {
        if (subset->mark[pair] == subset->generation) return;
        subset->mark[pair] = subset->generation;
    } else {
        subset->work += subset->n_seen / 16;
        for (size_t i = 0; i < subset->n_seen; i++) {
            if (subset->seen[i] == member) return;
        }
        if (!reserve(subset, (void **)(void *)&subset->seen, subset->n_seen, &subset->seen_capacity, sizeof member)) return;
        subset->seen[subset->n_seen++] = member;
    }
    if (reserve(subset, (void **)(void *)&subset->stack, subset->depth, &subset->stack_capacity, sizeof member))
        subset->stack[subset->depth++] = member;
}

/* The number of a list with these tasks. */
static uint32_t list_number(Subset *subset, const TaskList *list)
{
    subset->work += subset->n_lists / 16;
    for (size_t i = 0; i < subset->n_lists; i++) {
        const TaskList *known = &subset->lists[i];
        if (known->count != list->count) continue;
        size_t same = 0;
        while (same < list->count && known->tasks[same].look == list->tasks[same].look &&
               known->tasks[same].at_start == list->tasks[same].at_start && known->tasks[same].state == list->tasks[same].state)
            same++;
        if (same == list->count) return (uint32_t)i;
    }
    if (subset->n_lists == MAX_TASK_LISTS) {
        subset->status = imp_fail(IMP_ERR_LIMIT, "the pattern's look-aheads are too entangled");
        return 0;
    }
    if (!reserve(subset, (void **)(void *)&subset->lists, subset->n_lists, &subset->list_capacity, sizeof *list)) return 0;
    subset->lists[subset->n_lists] = *list;
    return (uint32_t)subset->n_lists++;
}

/* Puts a task in its place in the list; false when there are too many. */
static bool insert_task(TaskList *list, Task task)
{
    size_t at = 0;
    while (at < list->count && (list->tasks[at].look < task.look || (list->tasks[at].look == task.look &&
                                                                    list->tasks[at].state < task.state)))
        at++;
    if (at < list->count && list->tasks[at].look == task.look && list->tasks[at].state == task.state &&
        list->tasks[at].at_start == task.at_start)
        return true;
    if (list->count == MAX_TASKS) return false;
    memmove(&list->tasks[at + 1], &list->tasks[at], (list->count - at) * sizeof task);
    list->tasks[at] = task;
    list->count++;
    return true;
}

static const Dfa *task_automaton(const Nfa *nfa, const Task *task)
{
    return task->at_start ? nfa->looks[task->look].at_start : nfa->looks[task->look].dfa;
}

/* A member passes a look-ahead: from here on its automaton runs along. */
static void look_ahead(const Nfa *nfa, Subset *subset, const NfaNode *node, uint32_t promise, uint32_t list, bool at_start)
{
    Task task = {.look = (uint16_t)node->b, .at_start = at_start && nfa->looks[node->b].at_start != nfa->looks[node->b].dfa};
    const Dfa *dfa = task_automaton(nfa, &task);
    TaskList more = subset->lists[list];
    task.state = dfa->start;
    if (task.state == DFA_DEAD) return;
    if (dfa->universal[task.state]) subset_add(subset, node->a * N_PROMISES + promise, list);
    else if (insert_task(&more, task)) subset_add(subset, node->a * N_PROMISES + promise, list_number(subset, &more));
    else subset->status = imp_fail(IMP_ERR_LIMIT, "more than %d look-aheads of the pattern at once", MAX_TASKS);
}

/* Adds a member and everything it reaches without reading. */
static void subset_close(const Nfa *nfa, Subset *subset, uint32_t pair, uint32_t list, bool at_start)
{
    subset_add(subset, pair, list);
    while (subset->depth > 0 && subset->status == IMP_OK) {
        const uint64_t top = subset->stack[--subset->depth];
        const uint32_t tasks = (uint32_t)(top >> 32);
        const NfaNode *node = &nfa->nodes[(uint32_t)top / N_PROMISES];
        const uint32_t promise = (uint32_t)top % N_PROMISES;
        subset->work++;
        switch (node->kind) {
        case NFA_SPLIT:
            if (node->a != NFA_NONE) subset_add(subset, node->a * N_PROMISES + promise, tasks);
            if (node->b != NFA_NONE) subset_add(subset, node->b * N_PROMISES + promise, tasks);
            break;
        case NFA_START:
            if (at_start) subset_add(subset, node->a * N_PROMISES + promise, tasks);
            break;
        case NFA_END: subset_add(subset, node->a * N_PROMISES + PROMISE_END, tasks); break;
        case NFA_DOLLAR:
            subset_add(subset, node->a * N_PROMISES + (promise == PROMISE_NONE ? PROMISE_NEWLINE : promise), tasks);
            break;
        case NFA_AHEAD: look_ahead(nfa, subset, node, promise, tasks, at_start); break;
        case NFA_BEHIND: {
            const NfaLook *look = &nfa->looks[node->b];
            if ((look->dfa->label[subset->behind[node->b]] != 0) != look->negated)
                subset_add(subset, node->a * N_PROMISES + promise, tasks);
            break;
        }
        case NFA_CHARS:
        case NFA_ACCEPT:
            if (reserve(subset, (void **)(void *)&subset->members, subset->count, &subset->capacity, sizeof top))
                subset->members[subset->count++] = top;
            break;
        }
    }
}

/* Order: family, then promise and tasks, then rank; nodes without family by themselves. */
static int compare_members(const void *left, const void *right, void *context)
{
    const Nfa *nfa = context;
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    const NfaNode *x = &nfa->nodes[(uint32_t)a / N_PROMISES];
    const NfaNode *y = &nfa->nodes[(uint32_t)b / N_PROMISES];
    if (x->family != y->family) return x->family < y->family ? -1 : 1;
    if (x->family == 0) return (a > b) - (a < b);
    if (a >> 32 != b >> 32) return a >> 32 < b >> 32 ? -1 : 1;
    if ((uint32_t)a % N_PROMISES != (uint32_t)b % N_PROMISES) return (uint32_t)a % N_PROMISES < (uint32_t)b % N_PROMISES ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* Drops members that others stand for. */
static void subset_reduce(const Nfa *nfa, Subset *subset)
{
    if (nfa->forever != NFA_NONE && subset->mark[nfa->forever * N_PROMISES] == subset->generation) {
        size_t kept = 0;
        for (size_t i = 0; i < subset->count; i++) {
            const uint64_t member = subset->members[i];
            const NfaNode *forever = &nfa->nodes[nfa->forever];
            if (member == forever->a * N_PROMISES + PROMISE_NONE || member == forever->b * N_PROMISES + PROMISE_NONE)
                subset->members[kept++] = member;
        }
        subset->count = kept;
        for (size_t i = 0; i < nfa->n_looks; i++) {
            if (nfa->looks[i].behind) subset->behind[i] = nfa->looks[i].dfa->start;
        }
    }
    if (subset->count > 1)
        qsort_r(subset->members, subset->count, sizeof *subset->members, compare_members, (void *)(uintptr_t)nfa);
    size_t kept = 0;
    for (size_t i = 0; i < subset->count; i++) {
        const uint64_t member = subset->members[i];
        const uint64_t last = kept == 0 ? 0 : subset->members[kept - 1];
        const NfaNode *node = &nfa->nodes[(uint32_t)member / N_PROMISES];
        const bool alike = kept > 0 && node->family != 0 && node->family == nfa->nodes[(uint32_t)last / N_PROMISES].family &&
                           member >> 32 == last >> 32 && (uint32_t)member % N_PROMISES == (uint32_t)last % N_PROMISES;
        if (!alike) subset->members[kept++] = member;
    }
    subset->count = kept;
}

/* Every task of the member accepts the end of the text here. */
static bool tasks_accept(const Nfa *nfa, const Subset *subset, uint32_t list)
{
    const TaskList *tasks = &subset->lists[list];
    for (size_t i = 0; i < tasks->count; i++) {
        if (task_automaton(nfa, &tasks->tasks[i])->label[tasks->tasks[i].state] == 0) return false;
    }
    return true;
}

static uint32_t subset_label(const Nfa *nfa, const Subset *subset)
{
    uint32_t label = 0;
    for (size_t i = 0; i < subset->count; i++) {
        const NfaNode *node = &nfa->nodes[(uint32_t)subset->members[i] / N_PROMISES];
        if (node->kind != NFA_ACCEPT || node->a <= label) continue;
        if (tasks_accept(nfa, subset, (uint32_t)(subset->members[i] >> 32))) label = node->a;
    }
    return label;
}

static void subset_begin(Subset *subset)
{
    subset->count = subset->n_seen = subset->depth = 0;
    subset->generation++;
}

/* The tasks behind a character; false when one of them refuses it. */
static bool step_tasks(const Nfa *nfa, Subset *subset, uint32_t list, uint32_t code_point, uint32_t *out)
{
    TaskList next = {0};
    *out = 0;
    if (list == 0) return true;
    const TaskList now = subset->lists[list];
    for (size_t i = 0; i < now.count; i++) {
        Task task = now.tasks[i];
        const Dfa *dfa = task_automaton(nfa, &task);
        task.state = dfa_step(dfa, task.state, code_point);
        if (task.state == DFA_DEAD) return false;
        if (!dfa->universal[task.state]) (void)insert_task(&next, task);
    }
    if (next.count > 0) *out = list_number(subset, &next);
    return true;
}

/* What the determinization knows about the classes. */
typedef struct ClassTable {
    const uint8_t *contains; /* [n_sets][n_classes] */
    uint32_t *character;     /* [n_classes] one of each class */
    uint32_t n_classes, newline;
} ClassTable;

/* Collects what a state's key reaches over class `c`. */
static void subset_move(const Nfa *nfa, Subset *subset, const uint32_t *key, size_t count, const ClassTable *classes, uint32_t c)
{
    subset_begin(subset);
    subset->work += count / 8;
    for (size_t i = 0; i < nfa->n_looks; i++)
        subset->behind[i] = nfa->looks[i].behind ? dfa_step(nfa->looks[i].dfa, key[i], classes->character[c]) : 0;
    for (size_t i = nfa->n_looks; i < count; i += 2) {
        const NfaNode *node = &nfa->nodes[key[i] / N_PROMISES];
        const uint32_t promise = key[i] % N_PROMISES;
        uint32_t tasks = 0;
        if (node->kind != NFA_CHARS || promise == PROMISE_END) continue;
        if (promise == PROMISE_NEWLINE && c != classes->newline) continue;
        if (!classes->contains[(size_t)node->b * classes->n_classes + c]) continue;
        if (!step_tasks(nfa, subset, key[i + 1], classes->character[c], &tasks)) continue;
        const uint32_t next = promise == PROMISE_NEWLINE ? (uint32_t)PROMISE_END : (uint32_t)PROMISE_NONE;
        subset_close(nfa, subset, node->a * N_PROMISES + next, tasks, false);
    }
}

static ImpStatus subset_init(const Nfa *nfa, Subset *subset)
{
    const TaskList none = {0};
    const size_t pairs = nfa->n_nodes * N_PROMISES;
    subset->mark = calloc(pairs, sizeof *subset->mark);
    if (subset->mark == NULL) return imp_fail_memory(pairs * sizeof *subset->mark);
    (void)list_number(subset, &none);
    return subset->status;
}

static void subset_free(Subset *subset)
{
    free(subset->members);
    free(subset->stack);
    free(subset->mark);
    free(subset->seen);
    free(subset->lists);
    free(subset->key);
}

/* The number of the state that the collected set stands for: its key holds the states that look behind, then the members. */
static ImpStatus subset_state(const Nfa *nfa, Subset *subset, DfaBuilder *builder, uint32_t *out)
{
    IMP_TRY(subset->status);
    subset_reduce(nfa, subset);
    if (subset->work > MAX_WORK) return imp_fail(IMP_ERR_LIMIT, "the pattern takes too much work to compile");
    *out = DFA_DEAD;
    if (subset->count == 0) return IMP_OK;
    const size_t count = nfa->n_looks + subset->count * 2;
    if (count >= subset->key_capacity) {
        uint32_t *grown = realloc(subset->key, (count * 2 + 64) * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(count * 2 * sizeof *grown);
        subset->key = grown;
        subset->key_capacity = count * 2 + 64;
    }
    memcpy(subset->key, subset->behind, nfa->n_looks * sizeof *subset->key);
    for (size_t i = 0; i < subset->count; i++) {
        subset->key[nfa->n_looks + 2 * i] = (uint32_t)subset->members[i];
        subset->key[nfa->n_looks + 2 * i + 1] = (uint32_t)(subset->members[i] >> 32);
    }
    return dfa_builder_state(builder, subset->key, count, subset_label(nfa, subset), out);
}

static ImpStatus make_classes(const Nfa *nfa, DfaBuilder *builder, uint8_t **contains, ClassTable *classes)
{
    /* The newline is told apart from everything else, for the sake of promises. */
    CharSet newline = {.ranges = &(CharRange){'\n', '\n'}, .count = 1};
    IMP_TRY(dfa_builder_classes(builder, nfa->sets, nfa->n_sets, &newline, contains));
    classes->character = malloc(builder->n_classes * sizeof *classes->character);
    if (classes->character == NULL) return imp_fail_memory(builder->n_classes * sizeof *classes->character);
    for (uint32_t i = builder->n_bounds; i-- > 0;) classes->character[builder->bound_class[i]] = builder->bounds[i];
    classes->contains = *contains;
    classes->n_classes = builder->n_classes;
    classes->newline = builder->newline_class;
    return IMP_OK;
}

ImpStatus nfa_determinize(const Nfa *nfa, uint32_t start, bool at_start, uint32_t max_states, Arena *arena, const Dfa **out)
{
    Subset subset = {0};
    DfaBuilder builder = {0};
    ClassTable classes = {0};
    uint8_t *contains = NULL;
    uint32_t state = 0;
    ImpStatus status = dfa_builder_init(&builder, arena, max_states);
    if (status == IMP_OK) status = make_classes(nfa, &builder, &contains, &classes);
    if (status == IMP_OK) status = subset_init(nfa, &subset);
    if (status != IMP_OK) goto fail;
    for (size_t i = 0; i < nfa->n_looks; i++) subset.behind[i] = nfa->looks[i].behind ? nfa->looks[i].dfa->start : 0;
    subset_begin(&subset);
    subset_close(nfa, &subset, start * N_PROMISES + PROMISE_NONE, 0, at_start);
    IMP_GOTO(subset_state(nfa, &subset, &builder, &state));
    if (state == DFA_DEAD) IMP_GOTO(dfa_builder_state(&builder, subset.key, 0, 0, &state));
    for (uint32_t s = state; s < builder.n_states; s++) {
        for (uint32_t c = 0; c < builder.n_classes; c++) {
            size_t count = 0;
            uint32_t target = DFA_DEAD;
            const uint32_t *key = dfa_builder_key(&builder, s, &count);
            if (count > 0) subset_move(nfa, &subset, key, count, &classes, c);
            if (count > 0) IMP_GOTO(subset_state(nfa, &subset, &builder, &target));
            builder.next[(size_t)s * builder.n_classes + c] = target;
        }
    }
    status = dfa_builder_finish(&builder, state, out);
fail:
    free(contains);
    free(classes.character);
    subset_free(&subset);
    dfa_builder_free(&builder);
    return status;
}
