/*
 * shape_array.c - whether an array that was begun can be ended: lengths and counts of items, in closed form behind the
 * positions that have goals of their own.
 */
#include "runtime/constraint/shape.h"

static bool goal_possible(const ArrayShape *shape, uint64_t index, size_t subset)
{
    const uint64_t position = index < shape->n_positions ? index : shape->n_positions;
    const Goal *goal = shape->goals[(position << shape->n_contains) + subset];
    return goal != NULL && goal->satisfiable;
}

static bool fillable(const ArrayShape *shape, uint64_t index)
{
    for (size_t s = 0; s < (size_t)1 << shape->n_contains; s++) {
        if (goal_possible(shape, index, s)) return true;
    }
    return false;
}

/* The greatest length that an array of `index` items can reach. */
static uint64_t longest(const ArrayShape *shape, uint64_t index)
{
    uint64_t i = index;
    for (; i < shape->n_positions && i < shape->max_items; i++) {
        if (!fillable(shape, i)) return i;
    }
    if (i >= shape->max_items) return shape->max_items;
    return fillable(shape, shape->n_positions) ? shape->max_items : i;
}

/* Of the items index … length-1, those that can count (`must`: that cannot but count) for the only demand. */
static uint64_t countable(const ArrayShape *shape, uint64_t index, uint64_t length, bool must)
{
    uint64_t n = 0;
    uint64_t i = index;
    for (; i < length && i < shape->n_positions; i++) {
        n += goal_possible(shape, i, 1) && !(must && goal_possible(shape, i, 0));
    }
    const uint64_t tail = shape->n_positions;
    if (i < length && goal_possible(shape, tail, 1) && !(must && goal_possible(shape, tail, 0))) n += length - i;
    return n;
}

static bool one_demand(const ArrayShape *shape, uint64_t index, uint64_t count, uint64_t limit)
{
    const uint64_t min = shape->contains[0].min;
    const uint64_t max = shape->contains[0].max;
    uint64_t length = index > shape->min_items ? index : shape->min_items;
    if (count > max || min > max) return false;
    while (count + countable(shape, index, length, false) < min) {
        if (length >= limit) return false;
        if (length < shape->n_positions) {
            length++;
            continue;
        }
        if (!goal_possible(shape, shape->n_positions, 1)) return false;
        const uint64_t missing = min - count - countable(shape, index, length, false);
        if (missing > limit - length) return false;
        length += missing;
    }
    return max == SHAPE_UNBOUNDED || count + countable(shape, index, length, true) <= max;
}

bool array_can_finish(const ArrayShape *shape, uint64_t index, const uint64_t *counts)
{
    const uint64_t limit = longest(shape, index);
    if (index > shape->max_items || (index < shape->min_items && limit < shape->min_items)) return false;
    if (shape->n_contains == 1) return one_demand(shape, index, counts[0], limit);
    for (size_t k = 0; k < shape->n_contains; k++) {
        if (counts[k] >= shape->contains[k].min) continue;
        if (limit != SHAPE_UNBOUNDED || !goal_possible(shape, shape->n_positions, (size_t)1 << k)) return false;
    }
    return true;
}
