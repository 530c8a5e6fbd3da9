/*
 * shape_finish.c - the last pass over goals: build all that the root leads to, find out which can be satisfied at all (a least
 * fixed point: a recursive schema without a way out describes nothing), drop the others, and give all property names one
 * numbering so that sets of keys are bits.
 */
#include "runtime/constraint/goal.h"

#include <stdlib.h>
#include <string.h>

typedef struct Finish {
    GoalSet *set;
    GoalEntry **goals; /* those that the root leads to, in the order in which they were reached */
    size_t n_goals, capacity;
    const char **names; /* ascending */
    size_t *lengths;
    size_t n_names, words;
} Finish;

static ImpStatus reach(Finish *finish, const Goal *goal)
{
    if (goal == NULL) return IMP_OK;
    GoalEntry *entry = finish->set->entries[goal->id];
    if (entry->reached) return IMP_OK;
    entry->reached = true;
    if (finish->n_goals == finish->capacity) {
        const size_t capacity = finish->capacity * 2 + 64;
        GoalEntry **grown = realloc(finish->goals, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        finish->goals = grown;
        finish->capacity = capacity;
    }
    finish->goals[finish->n_goals++] = entry;
    return goal_build(finish->set, entry);
}

static size_t array_goals(const ArrayShape *shape) { return (shape->n_positions + 1) << shape->n_contains; }

static ImpStatus reach_object(Finish *finish, const ObjectShape *shape)
{
    const size_t subsets = (size_t)1 << shape->n_exists;
    for (size_t i = 0; i < shape->n_names; i++) {
        for (size_t s = 0; s < subsets; s++) IMP_TRY(reach(finish, shape->names[i].goals[s]));
    }
    for (size_t i = 0; i < shape->n_classes * subsets; i++) IMP_TRY(reach(finish, shape->class_goals[i]));
    return IMP_OK;
}

static ImpStatus reach_all(Finish *finish, GoalEntry *root)
{
    IMP_TRY(reach(finish, &root->goal));
    for (size_t i = 0; i < finish->n_goals; i++) {
        const Goal *goal = &finish->goals[i]->goal;
        for (size_t a = 0; a < goal->n_arrays; a++) {
            for (size_t k = 0; k < array_goals(goal->arrays[a]); k++) IMP_TRY(reach(finish, goal->arrays[a]->goals[k]));
        }
        for (size_t o = 0; o < goal->n_objects; o++) IMP_TRY(reach_object(finish, goal->objects[o]));
    }
    return IMP_OK;
}

static bool is_satisfiable(const Goal *goal) { return goal != NULL && goal->satisfiable; }

static int compare_names(const void *left, const void *right)
{
    const ObjectName *a = left;
    const ObjectName *b = right;
    const int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

static size_t own_index(const ObjectShape *shape, const char *text, size_t length)
{
    const ObjectName key = {.text = text, .length = length};
    const ObjectName *found = bsearch(&key, shape->names, shape->n_names, sizeof key, compare_names);
    return (size_t)(found - shape->names);
}

/* Keys that can be there: their values can be satisfied, and so can those of all keys that they bring with them. */
static void possible_names(const ObjectShape *shape, bool *possible)
{
    for (size_t i = 0; i < shape->n_names; i++) possible[i] = is_satisfiable(shape->names[i].goals[0]);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t d = 0; d < shape->n_dependents; d++) {
            const struct ObjectDependent *dependent = &shape->dependents[d];
            const size_t from = own_index(shape, dependent->text, dependent->length);
            for (size_t k = 0; possible[from] && k < dependent->n_needs; k++) {
                possible[from] = possible[own_index(shape, dependent->need_texts[k], dependent->need_lengths[k])];
                changed = changed || !possible[from];
            }
        }
    }
}

/* Adds to `needed` all keys that those in it bring with them. */
static size_t close_needed(const ObjectShape *shape, bool *needed)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t d = 0; d < shape->n_dependents; d++) {
            const struct ObjectDependent *dependent = &shape->dependents[d];
            if (!needed[own_index(shape, dependent->text, dependent->length)]) continue;
            for (size_t k = 0; k < dependent->n_needs; k++) {
                bool *need = &needed[own_index(shape, dependent->need_texts[k], dependent->need_lengths[k])];
                changed = changed || !*need;
                *need = true;
            }
        }
    }
    size_t count = 0;
    for (size_t i = 0; i < shape->n_names; i++) count += needed[i];
    return count;
}

static uint64_t free_key_count(const ObjectShape *shape)
{
    bool any = false;
    for (size_t i = 0; i < shape->n_classes; i++) any = any || is_satisfiable(shape->class_goals[i << shape->n_exists]);
    if (!any) return 0;
    if (shape->free_keys == NULL) return UINT32_MAX;
    uint64_t count = shape->free_keys->completions[shape->free_keys->start];
    /* Names with goals of their own that the automaton accepts too are not free. */
    for (size_t i = 0; i < shape->n_names && count != DFA_UNBOUNDED; i++)
        count -= dfa_match(shape->free_keys, shape->names[i].text, shape->names[i].length) != 0;
    return count;
}

static ImpStatus object_satisfiable(const ObjectShape *shape, bool *out)
{
    bool *possible = calloc(shape->n_names * 2 + 1, sizeof *possible);
    if (possible == NULL) return imp_fail_memory(shape->n_names * 2);
    bool *needed = possible + shape->n_names;
    possible_names(shape, possible);
    const NameList *required = &shape->draft->required;
    for (size_t i = 0; i < required->count; i++) needed[own_index(shape, required->texts[i], required->lengths[i])] = true;
    const size_t n_needed = close_needed(shape, needed);
    uint64_t available = free_key_count(shape);
    *out = n_needed <= shape->max_properties;
    for (size_t i = 0; i < shape->n_names; i++) {
        *out = *out && (possible[i] || !needed[i]);
        available += possible[i];
    }
    *out = *out && available >= shape->min_properties;
    for (size_t e = 0; e < shape->n_exists; e++) {
        bool any = false;
        for (size_t i = 0; i < shape->n_classes; i++)
            any = any || is_satisfiable(shape->class_goals[(i << shape->n_exists) + ((size_t)1 << e)]);
        *out = *out && any;
    }
    free(possible);
    if (*out && shape->n_dependents > 0 && shape->min_properties > n_needed && shape->max_properties != SHAPE_UNBOUNDED)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema: dependent properties with minProperties and maxProperties");
    return IMP_OK;
}

static ImpStatus update(Goal *goal, bool *changed)
{
    static const uint64_t none[SHAPE_MAX_CONTAINS] = {0};
    bool holds = goal->null_allowed || goal->false_allowed || goal->true_allowed || goal->n_numbers > 0 ||
                 goal->n_strings > 0;
    for (size_t i = 0; i < goal->n_arrays && !holds; i++) holds = array_can_finish(goal->arrays[i], 0, none);
    for (size_t i = 0; i < goal->n_objects && !holds; i++) IMP_TRY(object_satisfiable(goal->objects[i], &holds));
    *changed = *changed || (holds && !goal->satisfiable);
    goal->satisfiable = goal->satisfiable || holds;
    return IMP_OK;
}

/* Children are mostly reached after their parents: going backwards few rounds are needed. */
static ImpStatus find_satisfiable(Finish *finish)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = finish->n_goals; i-- > 0;) {
            if (!finish->goals[i]->goal.satisfiable) IMP_TRY(update(&finish->goals[i]->goal, &changed));
        }
    }
    return IMP_OK;
}

/* Keeps what can be satisfied. */
static ImpStatus prune(Finish *finish, Goal *goal)
{
    static const uint64_t none[SHAPE_MAX_CONTAINS] = {0};
    size_t kept = 0;
    for (size_t i = 0; i < goal->n_arrays; i++) {
        ArrayShape *shape = goal->arrays[i];
        if (!array_can_finish(shape, 0, none)) continue;
        goal->arrays[kept++] = shape;
    }
    goal->n_arrays = kept;
    kept = 0;
    for (size_t i = 0; i < goal->n_objects; i++) {
        bool holds = false;
        IMP_TRY(object_satisfiable(goal->objects[i], &holds));
        if (!holds) continue;
        IMP_TRY(object_free_keys(finish->set, goal->objects[i]));
        goal->objects[kept++] = goal->objects[i];
    }
    goal->n_objects = kept;
    return IMP_OK;
}

static void forget_impossible(const Goal **goals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_satisfiable(goals[i])) goals[i] = NULL;
    }
}

static void forget_impossible_goals(Goal *goal)
{
    for (size_t i = 0; i < goal->n_arrays; i++) forget_impossible(goal->arrays[i]->goals, array_goals(goal->arrays[i]));
    for (size_t i = 0; i < goal->n_objects; i++) {
        ObjectShape *shape = goal->objects[i];
        for (size_t n = 0; n < shape->n_names; n++)
            forget_impossible(shape->names[n].goals, (size_t)1 << shape->n_exists);
        forget_impossible(shape->class_goals, shape->n_classes << shape->n_exists);
    }
}

/* As many different items as there must be: *possible false when there are too few. Where that is not known the keyword is refused. */
static ImpStatus check_unique(ArrayShape *shape, bool *possible)
{
    *possible = true;
    for (uint64_t i = 0; i < shape->min_items && i <= shape->n_positions; i++) {
        const uint64_t needed = i < shape->n_positions ? i + 1 : shape->min_items;
        uint32_t least = DFA_UNBOUNDED;
        bool exact = shape->n_positions == 0 && shape->n_contains == 0;
        for (size_t k = 0; k < (size_t)1 << shape->n_contains; k++) {
            Goal *goal = (Goal *)(uintptr_t)shape->goals[(i << shape->n_contains) + k];
            if (goal == NULL || !goal->satisfiable) continue;
            goal_count(goal);
            if (goal->n_values < least) least = goal->n_values;
            exact = exact && goal->counted_exactly;
        }
        if (least >= needed) continue;
        *possible = false;
        if (exact) return IMP_OK;
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: too few different items are sure to be there", shape->unique);
    }
    for (size_t k = 0; k < shape->n_contains; k++) {
        for (size_t i = 0; i <= shape->n_positions && shape->contains[k].min > 1; i++) {
            Goal *goal = (Goal *)(uintptr_t)shape->goals[(i << shape->n_contains) + ((size_t)1 << k)];
            if (goal == NULL || !goal->satisfiable) continue;
            goal_count(goal);
            if (goal->n_values < DFA_UNBOUNDED)
                return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: beside contains with few different items", shape->unique);
        }
    }
    return IMP_OK;
}

/* Arrays that cannot have enough different items are made impossible; *changed tells whether there are any. */
static ImpStatus limit_unique(Finish *finish, bool *changed)
{
    *changed = false;
    for (size_t i = 0; i < finish->n_goals; i++) {
        const Goal *goal = &finish->goals[i]->goal;
        for (size_t a = 0; a < goal->n_arrays; a++) {
            ArrayShape *shape = goal->arrays[a];
            bool possible = true;
            if (shape->unique == NULL || shape->max_items < shape->min_items) continue;
            IMP_TRY(check_unique(shape, &possible));
            if (possible) continue;
            shape->min_items = 1;
            shape->max_items = 0;
            *changed = true;
        }
    }
    return IMP_OK;
}

/* Satisfiability and the number of values depend on each other where items must differ. */
static ImpStatus settle(Finish *finish)
{
    for (bool changed = true; changed;) {
        for (size_t i = 0; i < finish->n_goals; i++) {
            finish->goals[i]->goal.satisfiable = finish->goals[i]->goal.counted = false;
        }
        IMP_TRY(find_satisfiable(finish));
        IMP_TRY(limit_unique(finish, &changed));
    }
    /* What is counted from here on is what is kept. */
    for (size_t i = 0; i < finish->n_goals; i++) finish->goals[i]->goal.counted = false;
    return IMP_OK;
}

static ImpStatus number_names(Finish *finish)
{
    size_t n = 0;
    for (size_t i = 0; i < finish->n_goals; i++) {
        const Goal *goal = &finish->goals[i]->goal;
        for (size_t o = 0; o < goal->n_objects; o++) n += goal->objects[o]->n_names;
    }
    ObjectName *all = malloc((n + 1) * sizeof *all);
    finish->names = arena_alloc(finish->set->arena, n, sizeof *finish->names);
    finish->lengths = arena_alloc(finish->set->arena, n, sizeof *finish->lengths);
    if (all == NULL || finish->names == NULL || finish->lengths == NULL) {
        free(all);
        return imp_fail_memory(n * sizeof *all);
    }
    n = 0;
    for (size_t i = 0; i < finish->n_goals; i++) {
        const Goal *goal = &finish->goals[i]->goal;
        for (size_t o = 0; o < goal->n_objects; o++) {
            for (size_t k = 0; k < goal->objects[o]->n_names; k++) all[n++] = goal->objects[o]->names[k];
        }
    }
    qsort(all, n, sizeof *all, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_names(&all[i - 1], &all[i]) == 0) continue;
        finish->names[finish->n_names] = all[i].text;
        finish->lengths[finish->n_names++] = all[i].length;
    }
    free(all);
    finish->words = finish->n_names / 64 + 1;
    return IMP_OK;
}

static uint32_t name_id(const Finish *finish, const char *text, size_t length)
{
    size_t low = 0;
    size_t high = finish->n_names;
    const ObjectName key = {.text = text, .length = length};
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const ObjectName other = {.text = finish->names[middle], .length = finish->lengths[middle]};
        if (compare_names(&other, &key) < 0) low = middle + 1;
        else high = middle;
    }
    return (uint32_t)low;
}

static void set_bit(uint64_t *bits, uint32_t id) { bits[id / 64] |= 1ULL << id % 64; }
static bool has_bit(const uint64_t *bits, uint32_t id) { return (bits[id / 64] >> id % 64 & 1) != 0; }

/* Which names may be keys: own names by their goals, the others by the class of free keys they are in. */
static void allow_names(const Finish *finish, ObjectShape *shape, uint64_t *allowed, uint64_t *own)
{
    const bool all_free = shape->n_classes > 0 && shape->free_keys == NULL;
    if (all_free) {
        for (uint32_t id = 0; id < finish->n_names; id++) set_bit(allowed, id);
    } else if (shape->n_classes > 0) {
        for (uint32_t id = 0; id < finish->n_names; id++) {
            if (dfa_match(shape->free_keys, finish->names[id], finish->lengths[id]) != 0) set_bit(allowed, id);
        }
    }
    for (size_t i = 0; i < shape->n_names; i++) {
        ObjectName *name = &shape->names[i];
        name->id = name_id(finish, name->text, name->length);
        if (has_bit(allowed, name->id)) set_bit(own, name->id);
        allowed[name->id / 64] &= ~(1ULL << name->id % 64);
    }
}

static ImpStatus finish_dependents(const Finish *finish, ObjectShape *shape, const bool *possible, uint64_t *allowed)
{
    for (size_t d = 0; d < shape->n_dependents; d++) {
        struct ObjectDependent *dependent = &shape->dependents[d];
        uint64_t *needs = arena_alloc(finish->set->arena, finish->words, sizeof *needs);
        bool *needed = calloc(shape->n_names + 1, sizeof *needed);
        if (needs == NULL || needed == NULL) {
            free(needed);
            return imp_fail_memory(finish->words * sizeof *needs);
        }
        needed[own_index(shape, dependent->text, dependent->length)] = true;
        (void)close_needed(shape, needed);
        for (size_t i = 0; i < shape->n_names; i++) {
            if (needed[i]) set_bit(needs, shape->names[i].id);
        }
        free(needed);
        dependent->id = name_id(finish, dependent->text, dependent->length);
        dependent->needs = needs;
    }
    for (size_t i = 0; i < shape->n_names; i++) {
        if (possible[i]) set_bit(allowed, shape->names[i].id);
    }
    return IMP_OK;
}

static ImpStatus finish_object(const Finish *finish, ObjectShape *shape)
{
    Arena *arena = finish->set->arena;
    uint64_t *allowed = arena_alloc(arena, finish->words, sizeof *allowed);
    uint64_t *required = arena_alloc(arena, finish->words, sizeof *required);
    uint64_t *own = arena_alloc(arena, finish->words, sizeof *own);
    bool *possible = calloc(shape->n_names + 1, sizeof *possible);
    if (allowed == NULL || required == NULL || own == NULL || possible == NULL) {
        free(possible);
        return imp_fail_memory(finish->words * sizeof *own);
    }
    possible_names(shape, possible);
    allow_names(finish, shape, allowed, own);
    const ImpStatus status = finish_dependents(finish, shape, possible, allowed);
    free(possible);
    const NameList *names = &shape->draft->required;
    for (size_t i = 0; i < names->count; i++) set_bit(required, name_id(finish, names->texts[i], names->lengths[i]));
    for (size_t d = 0; d < shape->n_dependents && status == IMP_OK; d++) {
        if (!has_bit(required, shape->dependents[d].id)) continue;
        for (size_t w = 0; w < finish->words; w++) required[w] |= shape->dependents[d].needs[w];
    }
    shape->allowed = allowed;
    shape->required = required;
    shape->own = own;
    shape->draft = NULL;
    return status;
}

static ImpStatus finish_all(Finish *finish, GoalEntry *root, ShapeSet *out)
{
    IMP_TRY(reach_all(finish, root));
    IMP_TRY(settle(finish));
    for (size_t i = 0; i < finish->n_goals; i++) IMP_TRY(prune(finish, &finish->goals[i]->goal));
    for (size_t i = 0; i < finish->n_goals; i++) forget_impossible_goals(&finish->goals[i]->goal);
    for (size_t i = 0; i < finish->n_goals; i++) goal_count(&finish->goals[i]->goal);
    IMP_TRY(number_names(finish));
    for (size_t i = 0; i < finish->n_goals; i++) {
        Goal *goal = &finish->goals[i]->goal;
        for (size_t o = 0; o < goal->n_objects; o++) IMP_TRY(finish_object(finish, goal->objects[o]));
    }
    if (!root->goal.satisfiable) return imp_fail(IMP_ERR_UNSUPPORTED, "schema: no value satisfies it");
    *out = (ShapeSet){.root = &root->goal,
                      .n_names = finish->n_names,
                      .words = finish->words,
                      .names = finish->names,
                      .name_lengths = finish->lengths,
                      .n_goals = finish->n_goals,
                      .n_shapes = finish->set->n_shapes};
    return IMP_OK;
}

ImpStatus shape_finish(GoalSet *set, GoalEntry *root, ShapeSet *out)
{
    Finish finish = {.set = set};
    const ImpStatus status = finish_all(&finish, root, out);
    free(finish.goals);
    return status;
}
