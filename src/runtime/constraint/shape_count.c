/*
 * shape_count.c - how many different values a goal has, at least. Where items must differ it tells whether enough are left; a goal that
 * contains itself has endlessly many.
 */
#include "runtime/constraint/hash.h"
#include "runtime/constraint/shape.h"

#include <stdlib.h>

uint32_t count_product(uint32_t a, uint32_t b)
{
    const uint64_t product = (uint64_t)a * b;
    if (a == 0 || b == 0) return 0;
    return a == DFA_UNBOUNDED || b == DFA_UNBOUNDED || product >= DFA_UNBOUNDED ? DFA_UNBOUNDED : (uint32_t)product;
}

uint32_t count_sum(uint32_t a, uint32_t b)
{
    const uint64_t sum = (uint64_t)a + b;
    return a == DFA_UNBOUNDED || b == DFA_UNBOUNDED || sum >= DFA_UNBOUNDED ? DFA_UNBOUNDED : (uint32_t)sum;
}

enum { MAX_COUNTED = 64 };

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

static uint32_t count_numbers(const NumberShape *shape)
{
    if (shape->listed) return (uint32_t)shape->n_allowed;
    const bool integral = shape->form == NUMBER_INTEGRAL || shape->form == NUMBER_INTEGER_TEXT;
    if (!integral || !shape->low.present || !shape->high.present) {
        const bool point = shape->low.present && shape->high.present && decimal_compare(shape->low.value, shape->high.value) == 0;
        return point ? 1 : DFA_UNBOUNDED;
    }
    /* Steps in the interval, one less for each end that is left out or falls between. */
    const double step = shape->has_step ? decimal_to_double(shape->step) : 1;
    const double width = (decimal_to_double(shape->high.value) - decimal_to_double(shape->low.value)) / step;
    if (!(width < 1e6)) return DFA_UNBOUNDED;
    double count = width + 1 - (shape->low.exclusive ? 1 : 0) - (shape->high.exclusive ? 1 : 0) - (double)shape->n_refused;
    if (shape->n_refused_steps > 0 || count < 1) count = 1;
    return (uint32_t)count;
}

static uint32_t count_strings(const StringShape *shape)
{
    if (shape->listed) return (uint32_t)shape->n_strings;
    if (shape->dfa == NULL) return shape->max_length == 0 ? 1 : DFA_UNBOUNDED;
    if (shape->max_length == DFA_UNBOUNDED && shape->min_length == 0) return shape->dfa->completions[shape->dfa->start];
    /* Lengths leave some of them; of a long text there are many. */
    return shape->dfa->completions[shape->dfa->start] == DFA_UNBOUNDED && shape->max_length >= 32 ? DFA_UNBOUNDED : 1;
}

static uint32_t count_goal(const Goal *goal)
{
    if (goal == NULL || !goal->satisfiable) return 0;
    goal_count((Goal *)(uintptr_t)goal);
    return goal->n_values;
}

/* Any number of items can come that count for nothing of which there may be only so many. */
static bool goes_on(const ArrayShape *shape)
{
    for (size_t subset = 0; subset < (size_t)1 << shape->n_contains; subset++) {
        bool bounded = count_goal(shape->goals[(shape->n_positions << shape->n_contains) + subset]) == 0;
        for (size_t k = 0; k < shape->n_contains; k++)
            bounded = bounded || ((subset >> k & 1) != 0 && shape->contains[k].max != SHAPE_UNBOUNDED);
        if (!bounded) return true;
    }
    return false;
}

uint32_t array_ways(const ArrayShape *shape, uint64_t count)
{
    uint32_t total = 0;
    uint32_t ways = 1; /* to have this many items */
    const bool endless = shape->max_items == SHAPE_UNBOUNDED && shape->unique == NULL;
    if (shape->n_contains > 0) return endless && goes_on(shape) ? DFA_UNBOUNDED : 1;
    for (uint64_t i = count; ways > 0 && total != DFA_UNBOUNDED && i < count + MAX_COUNTED; i++) {
        if (i >= shape->min_items) total = count_sum(total, ways);
        if (i >= shape->max_items) break;
        uint32_t own = count_goal(shape->goals[i < shape->n_positions ? i : shape->n_positions]);
        if (own > 0 && endless && i >= shape->n_positions) return DFA_UNBOUNDED;
        /* Items that differ: those before this one are used up. */
        if (shape->unique != NULL && own != DFA_UNBOUNDED) own = own > i ? own - (uint32_t)i : 0;
        ways = count_product(ways, own);
    }
    return total > 0 ? total : 1; /* what is kept can be finished */
}

static uint32_t count_objects(const ObjectShape *shape, bool *exact)
{
    uint32_t count = 1;
    uint64_t n_required = 0;
    *exact = shape->n_exists == 0 && shape->n_dependents == 0 && shape->n_classes == 0 && shape->min_properties == 0 &&
             shape->max_properties == SHAPE_UNBOUNDED;
    for (size_t i = 0; i < shape->n_names; i++) {
        if (!shape->names[i].is_required) continue;
        count = count_product(count, count_goal(shape->names[i].goals[0]));
        n_required++;
    }
    if (shape->max_properties <= n_required) {
        *exact = shape->n_exists == 0 && shape->n_dependents == 0;
        return count;
    }
    for (size_t i = 0; i < shape->n_names && shape->n_dependents == 0; i++) {
        const uint32_t own = shape->names[i].is_required ? 0 : count_goal(shape->names[i].goals[0]);
        if (shape->max_properties == SHAPE_UNBOUNDED) count = count_product(count, count_sum(own, 1));
        else count = larger(count, count_sum(own, 1));
    }
    bool any = false;
    for (size_t c = 0; c < shape->n_classes; c++) any = any || count_goal(shape->class_goals[c << shape->n_exists]) > 0;
    const bool endless = shape->free_keys == NULL || shape->free_keys->completions[shape->free_keys->start] == DFA_UNBOUNDED;
    return any && endless ? DFA_UNBOUNDED : count;
}

/*
 * Shapes of one value each, as an enum makes them: alternatives that overlap may have the same value twice. Values of more parts than
 * that are left out.
 */
enum { MAX_PARTS = 10000 };

static bool goal_constant(const Goal *goal, unsigned *parts, uint64_t *hash);

static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t hash = length;
    for (size_t i = 0; i < length; i++) hash = hash_mix(hash, (unsigned char)text[i]);
    return hash;
}

static bool array_constant(const ArrayShape *shape, unsigned *parts, uint64_t *hash)
{
    if (shape->n_contains > 0 || shape->min_items != shape->max_items || shape->max_items > MAX_COUNTED) return false;
    *hash = hash_mix(JSON_VALUE_ARRAY, shape->max_items);
    for (uint64_t i = 0; i < shape->max_items; i++) {
        uint64_t item = 0;
        if (!goal_constant(shape->goals[i < shape->n_positions ? i : shape->n_positions], parts, &item)) return false;
        *hash = hash_mix(*hash, item);
    }
    return true;
}

static bool object_constant(const ObjectShape *shape, unsigned *parts, uint64_t *hash)
{
    uint64_t n_required = 0;
    if (shape->n_exists > 0 || shape->n_dependents > 0) return false;
    for (size_t i = 0; i < shape->n_names; i++) n_required += shape->names[i].is_required;
    const bool full = shape->max_properties <= n_required; /* no other key can come */
    for (size_t c = 0; c < shape->n_classes && !full; c++) {
        if (count_goal(shape->class_goals[c]) > 0) return false;
    }
    *hash = hash_mix(JSON_VALUE_OBJECT, 0);
    for (size_t i = 0; i < shape->n_names; i++) {
        const ObjectName *name = &shape->names[i];
        uint64_t value = 0;
        if (!name->is_required && (full || count_goal(name->goals[0]) == 0)) continue;
        if (!name->is_required || !goal_constant(name->goals[0], parts, &value)) return false;
        *hash = hash_mix(hash_mix(*hash, hash_bytes(name->text, name->length)), value);
    }
    return true;
}

/* The goal has one value; *hash: of that. */
static bool goal_constant(const Goal *goal, unsigned *parts, uint64_t *hash)
{
    if (goal == NULL || !goal->satisfiable || *parts == 0) return false;
    --*parts;
    const size_t literals = (size_t)goal->null_allowed + goal->false_allowed + goal->true_allowed;
    if (literals + goal->n_numbers + goal->n_strings + goal->n_arrays + goal->n_objects != 1) return false;
    if (goal->n_arrays == 1) return array_constant(goal->arrays[0], parts, hash);
    if (goal->n_objects == 1) return object_constant(goal->objects[0], parts, hash);
    if (goal->n_numbers == 1) {
        const NumberShape *shape = goal->numbers[0];
        if (!shape->listed || shape->n_allowed != 1) return false;
        *hash = hash_mix(JSON_VALUE_NUMBER, decimal_hash(decimal_normalize(shape->allowed[0])));
        return true;
    }
    if (goal->n_strings == 1) {
        const StringShape *shape = goal->strings[0];
        if (!shape->listed || shape->n_strings != 1) return false;
        *hash = hash_mix(JSON_VALUE_STRING, hash_bytes(shape->strings[0], shape->lengths[0]));
        return true;
    }
    *hash = goal->null_allowed ? JSON_VALUE_NULL : goal->true_allowed ? JSON_VALUE_TRUE : JSON_VALUE_FALSE;
    return true;
}

static int compare_hashes(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* How many different values those of the goal's arrays and objects have that have one each; *n: how many those are. */
static uint32_t count_constants(const Goal *goal, size_t *n)
{
    uint64_t *hashes = malloc((goal->n_arrays + goal->n_objects + 1) * sizeof *hashes);
    uint32_t different = 0;
    *n = 0;
    if (hashes == NULL) return 0; /* too few counted is still right */
    for (size_t i = 0; i < goal->n_arrays + goal->n_objects; i++) {
        unsigned parts = MAX_PARTS;
        *n += i < goal->n_arrays ? array_constant(goal->arrays[i], &parts, &hashes[*n])
                                 : object_constant(goal->objects[i - goal->n_arrays], &parts, &hashes[*n]);
    }
    qsort(hashes, *n, sizeof *hashes, compare_hashes);
    for (size_t i = 0; i < *n; i++) different += i == 0 || hashes[i] != hashes[i - 1];
    free(hashes);
    return different;
}

static void count_containers(Goal *goal)
{
    size_t n_constants = 0;
    const uint32_t constants = count_constants(goal, &n_constants);
    uint32_t most = 0;
    bool exact = true;
    for (size_t i = 0; i < goal->n_arrays + goal->n_objects; i++) {
        bool own_exact = true;
        uint32_t own = 0;
        if (i < goal->n_arrays) {
            own = array_ways(goal->arrays[i], 0);
            own_exact = goal->arrays[i]->n_contains == 0 && goal->arrays[i]->unique == NULL && goal->arrays[i]->max_items < MAX_COUNTED;
        } else {
            own = count_objects(goal->objects[i - goal->n_arrays], &own_exact);
        }
        most = larger(most, own);
        exact = exact && own_exact;
    }
    goal->n_containers = larger(constants, most);
    const size_t n = goal->n_arrays + goal->n_objects;
    goal->counted_exactly = goal->counted_exactly && exact && (n <= 1 || n_constants == n);
}

void goal_count(Goal *goal)
{
    if (goal->counted) return;
    goal->counted = true;
    goal->n_values = goal->n_containers = DFA_UNBOUNDED; /* what a goal finds of itself on its way */
    goal->counted_exactly = goal->n_numbers <= 1 && goal->n_strings <= 1;
    uint32_t numbers = 0;
    uint32_t strings = 0;
    for (size_t i = 0; i < goal->n_numbers; i++) numbers = larger(numbers, count_numbers(goal->numbers[i]));
    for (size_t i = 0; i < goal->n_strings; i++) {
        const StringShape *shape = goal->strings[i];
        strings = larger(strings, count_strings(shape));
        if (!shape->listed && (shape->min_length > 0 || shape->max_length != DFA_UNBOUNDED)) goal->counted_exactly = false;
    }
    for (size_t i = 0; i < goal->n_numbers; i++)
        goal->counted_exactly = goal->counted_exactly && (goal->numbers[i]->listed || numbers == DFA_UNBOUNDED);
    count_containers(goal);
    const uint32_t literals = (uint32_t)goal->null_allowed + goal->false_allowed + goal->true_allowed;
    goal->n_values = count_sum(count_sum(literals, numbers), count_sum(strings, goal->n_containers));
}
