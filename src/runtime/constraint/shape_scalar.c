/*
 * shape_scalar.c - number and string shapes from conjunctions.
 */
#include "runtime/constraint/goal.h"
#include "runtime/constraint/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STRING_STATES = 60000, MAX_SHAPES = 200000, MAX_ALTERNATIVES = 512 };

/* Numbers a shape and appends it to one of a goal's arrays of pointers. */
static ImpStatus push_shape(GoalSet *set, void ***array, size_t *count, size_t *capacity, void *shape)
{
    if (++set->n_shapes > MAX_SHAPES || *count == MAX_ALTERNATIVES)
        return imp_fail(IMP_ERR_LIMIT, "schema: too many alternatives");
    if (*count == *capacity) {
        const size_t larger = *capacity * 2 + 2;
        void **grown = arena_alloc(set->arena, larger, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(larger * sizeof *grown);
        if (*count != 0) memcpy(grown, *array, *count * sizeof *grown);
        *array = grown;
        *capacity = larger;
    }
    *(uint32_t *)shape = (uint32_t)set->n_shapes;
    (*array)[(*count)++] = shape;
    return IMP_OK;
}

static bool atom_holds(const Atom *atom, const JsonValue *value)
{
    for (size_t i = 0; i < atom->n_values; i++) {
        if (json_value_equal(atom->as.values[i], value)) return true;
    }
    return false;
}

/* `value`, which is of `list`, is in every other list that allows and in none that refuses. */
static bool listed_everywhere(const Conjunction *conjunction, const Atom *list, const JsonValue *value)
{
    for (const AtomCell *cell = conjunction->lists[ATOM_SCALARS]; cell != NULL; cell = cell->next) {
        if (&cell->atom != list && atom_holds(&cell->atom, value) == cell->atom.negated) return false;
    }
    return true;
}

/* The shortest of the lists that allow; NULL when there is none. */
static const Atom *allowing_list(const Conjunction *conjunction)
{
    const Atom *found = NULL;
    for (const AtomCell *cell = conjunction->lists[ATOM_SCALARS]; cell != NULL; cell = cell->next) {
        if (!cell->atom.negated && (found == NULL || cell->atom.n_values < found->n_values)) found = &cell->atom;
    }
    return found;
}

/*
 * Numbers.
 */

/* A bound for numbers written with a point or exponent, which readers round to double: strictly below 3 must not round to 3. */
static NumberBound float_bound(NumberBound bound, bool upper)
{
    if (!bound.present || !bound.exclusive) return bound;
    const double value = decimal_to_double(bound.value);
    if (!(fabs(value) < 1e300)) return bound;
    return (NumberBound){true, false, decimal_from_double(nextafter(value, upper ? -INFINITY : INFINITY))};
}

static bool within(const Conjunction *c, Decimal value)
{
    if (c->low.present) {
        const int order = decimal_compare(value, c->low.value);
        if (order < 0 || (order == 0 && c->low.exclusive)) return false;
    }
    if (c->high.present) {
        const int order = decimal_compare(value, c->high.value);
        if (order > 0 || (order == 0 && c->high.exclusive)) return false;
    }
    const bool integer = decimal_is_integer(value);
    if ((c->form == NUMBER_INTEGRAL || c->form == NUMBER_INTEGER_TEXT) && !integer) return false;
    if (c->form == NUMBER_FRACTIONAL && integer) return false;
    for (const AtomCell *cell = c->lists[ATOM_MULTIPLE]; cell != NULL; cell = cell->next) {
        if (decimal_is_multiple(value, cell->atom.number) == cell->atom.negated) return false;
    }
    return true;
}

static int compare_numbers(const void *left, const void *right)
{
    const JsonValue *const *a = left;
    const JsonValue *const *b = right;
    return decimal_compare((*a)->as.number, (*b)->as.number);
}

static ImpStatus list_numbers(GoalSet *set, const Conjunction *conjunction, const Atom *list, NumberShape *shape)
{
    const JsonValue **values = arena_alloc(set->scratch, list->n_values, sizeof *values);
    Decimal *allowed = arena_alloc(set->arena, list->n_values, sizeof *allowed);
    bool *integers = arena_alloc(set->arena, list->n_values, sizeof *integers);
    if (values == NULL || allowed == NULL || integers == NULL) return imp_fail_memory(list->n_values * sizeof *allowed);
    for (size_t i = 0; i < list->n_values; i++) {
        const JsonValue *value = list->as.values[i];
        if (value->type != JSON_VALUE_NUMBER || !listed_everywhere(conjunction, list, value)) continue;
        if (within(conjunction, value->as.number)) values[shape->n_allowed++] = value;
    }
    qsort(values, shape->n_allowed, sizeof *values, compare_numbers);
    for (size_t i = 0; i < shape->n_allowed; i++) {
        allowed[i] = decimal_normalize(values[i]->as.number);
        integers[i] = values[i]->integer_text;
    }
    shape->allowed = allowed;
    shape->integers = integers;
    shape->listed = true;
    return IMP_OK;
}

static ImpStatus list_refused(GoalSet *set, const Conjunction *conjunction, NumberShape *shape)
{
    size_t n = 0;
    for (const AtomCell *cell = conjunction->lists[ATOM_SCALARS]; cell != NULL; cell = cell->next) n += cell->atom.n_values;
    Decimal *refused = arena_alloc(set->arena, n, sizeof *refused);
    if (refused == NULL) return imp_fail_memory(n * sizeof *refused);
    for (const AtomCell *cell = conjunction->lists[ATOM_SCALARS]; cell != NULL; cell = cell->next) {
        for (size_t i = 0; i < cell->atom.n_values; i++) {
            const JsonValue *value = cell->atom.as.values[i];
            if (value->type == JSON_VALUE_NUMBER) refused[shape->n_refused++] = value->as.number;
        }
    }
    shape->refused = refused;
    return IMP_OK;
}

static ImpStatus gather_steps(GoalSet *set, const Conjunction *conjunction, NumberShape *shape)
{
    size_t n = 0;
    for (const AtomCell *cell = conjunction->lists[ATOM_MULTIPLE]; cell != NULL; cell = cell->next) n++;
    double *doubles = arena_alloc(set->arena, n, sizeof *doubles);
    Decimal *refused = arena_alloc(set->arena, n, sizeof *refused);
    if (doubles == NULL || refused == NULL) return imp_fail_memory(n * sizeof *refused);
    if (conjunction->form == NUMBER_INTEGRAL || conjunction->form == NUMBER_INTEGER_TEXT) {
        shape->has_step = true;
        shape->step = decimal_from_integer(1);
    }
    for (const AtomCell *cell = conjunction->lists[ATOM_MULTIPLE]; cell != NULL; cell = cell->next) {
        const Atom *atom = &cell->atom;
        if (atom->negated) {
            refused[shape->n_refused_steps++] = atom->number;
            continue;
        }
        if (atom->number_is_double) doubles[shape->n_double_steps++] = decimal_to_double(atom->number);
        const Decimal before = shape->has_step ? shape->step : atom->number;
        if (!decimal_common_multiple(before, atom->number, &shape->step))
            return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: the steps have too large a common multiple", atom->place);
        shape->has_step = true;
    }
    shape->double_steps = doubles;
    shape->refused_steps = refused;
    return IMP_OK;
}

ImpStatus build_number(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry)
{
    NumberShape *shape = arena_alloc(set->arena, 1, sizeof *shape);
    if (shape == NULL) return imp_fail_memory(sizeof *shape);
    shape->form = conjunction->form;
    shape->low = conjunction->low;
    shape->high = conjunction->high;
    shape->float_low = float_bound(shape->low, false);
    shape->float_high = float_bound(shape->high, true);
    const Atom *list = allowing_list(conjunction);
    IMP_TRY(gather_steps(set, conjunction, shape));
    if (list != NULL) IMP_TRY(list_numbers(set, conjunction, list, shape));
    else IMP_TRY(list_refused(set, conjunction, shape));
    if (!number_live(shape, &(NumberText){0})) return IMP_OK;
    return push_shape(set, (void ***)(void *)&entry->goal.numbers, &entry->goal.n_numbers, &entry->number_capacity, shape);
}

/*
 * Strings.
 */
static bool string_fits(const Conjunction *conjunction, const JsonValue *value)
{
    uint64_t characters = 0;
    for (size_t at = 0; at < value->count; characters++) (void)utf8_next(value->as.string, value->count, &at);
    if (characters < conjunction->min_length || characters > conjunction->max_length) return false;
    for (const AtomCell *cell = conjunction->lists[ATOM_PATTERN]; cell != NULL; cell = cell->next) {
        const bool matches = dfa_match(cell->atom.as.dfa, value->as.string, value->count) != 0;
        if (matches == cell->atom.negated) return false;
    }
    return true;
}

static int compare_values(const void *left, const void *right)
{
    const JsonValue *a = *(const JsonValue *const *)left;
    const JsonValue *b = *(const JsonValue *const *)right;
    const int order = memcmp(a->as.string, b->as.string, a->count < b->count ? a->count : b->count);
    return order != 0 ? order : (a->count > b->count) - (a->count < b->count);
}

static ImpStatus list_strings(GoalSet *set, const Conjunction *conjunction, const Atom *list, StringShape *shape)
{
    const JsonValue **kept = arena_alloc(set->scratch, list->n_values, sizeof(JsonValue *));
    const char **strings = arena_alloc(set->arena, list->n_values, sizeof *strings);
    size_t *lengths = arena_alloc(set->arena, list->n_values, sizeof *lengths);
    if (kept == NULL || strings == NULL || lengths == NULL) return imp_fail_memory(list->n_values * sizeof *strings);
    size_t n = 0;
    for (size_t i = 0; i < list->n_values; i++) {
        const JsonValue *value = list->as.values[i];
        if (value->type != JSON_VALUE_STRING || !string_fits(conjunction, value)) continue;
        if (listed_everywhere(conjunction, list, value)) kept[n++] = value;
    }
    qsort(kept, n, sizeof(JsonValue *), compare_values);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_values(&kept[i - 1], &kept[i]) == 0) continue;
        strings[shape->n_strings] = kept[i]->as.string;
        lengths[shape->n_strings++] = kept[i]->count;
    }
    shape->listed = true;
    shape->strings = strings;
    shape->lengths = lengths;
    return IMP_OK;
}

/* The automaton of strings that a negated list names; NULL when it names none. */
static ImpStatus refused_strings(GoalSet *set, const Conjunction *conjunction, const Dfa **out)
{
    size_t n = 0;
    for (const AtomCell *cell = conjunction->lists[ATOM_SCALARS]; cell != NULL; cell = cell->next) n += cell->atom.n_values;
    const char **texts = arena_alloc(set->scratch, n, sizeof *texts);
    size_t *lengths = arena_alloc(set->scratch, n, sizeof *lengths);
    if (texts == NULL || lengths == NULL) return imp_fail_memory(n * sizeof *texts);
    n = 0;
    for (const AtomCell *cell = conjunction->lists[ATOM_SCALARS]; cell != NULL; cell = cell->next) {
        for (size_t i = 0; i < cell->atom.n_values; i++) {
            if (cell->atom.as.values[i]->type != JSON_VALUE_STRING) continue;
            texts[n] = cell->atom.as.values[i]->as.string;
            lengths[n++] = cell->atom.as.values[i]->count;
        }
    }
    *out = NULL;
    return n == 0 ? IMP_OK : dfa_from_strings(set->arena, texts, lengths, n, out);
}

static ImpStatus combine_patterns(GoalSet *set, const Conjunction *conjunction, const Dfa **out)
{
    const Dfa *required[DFA_MAX_PARTS];
    const Dfa *refused[DFA_MAX_PARTS];
    size_t n_required = 0;
    size_t n_refused = 0;
    for (const AtomCell *cell = conjunction->lists[ATOM_PATTERN]; cell != NULL; cell = cell->next) {
        const Dfa **list = cell->atom.negated ? refused : required;
        size_t *n = cell->atom.negated ? &n_refused : &n_required;
        bool known = false;
        for (size_t i = 0; i < *n; i++) known = known || list[i] == cell->atom.as.dfa;
        if (known) continue;
        if (*n == DFA_MAX_PARTS / 2)
            return imp_fail(IMP_ERR_LIMIT, "schema, %s: too many patterns for one string", cell->atom.place);
        list[(*n)++] = cell->atom.as.dfa;
    }
    const Dfa *strings = NULL;
    IMP_TRY(refused_strings(set, conjunction, &strings));
    if (strings != NULL) refused[n_refused++] = strings;
    *out = NULL;
    if (n_required + n_refused == 0) return IMP_OK;
    return dfa_combine(set->arena, required, n_required, refused, n_refused, MAX_STRING_STATES, out);
}

/* With an automaton, lengths are counted while reading; *empty when nothing is left. */
static ImpStatus fit_lengths(GoalSet *set, const Conjunction *conjunction, StringShape *shape, bool *empty)
{
    const Dfa *dfa = shape->dfa;
    shape->min_length = conjunction->min_length < DFA_UNBOUNDED ? (uint32_t)conjunction->min_length : DFA_UNBOUNDED - 1;
    shape->max_length = conjunction->max_length < DFA_UNBOUNDED ? (uint32_t)conjunction->max_length : DFA_UNBOUNDED;
    if (dfa == NULL) return IMP_OK;
    *empty = dfa->start == DFA_DEAD || dfa->shortest[dfa->start] > shape->max_length ||
             dfa->longest[dfa->start] < shape->min_length;
    if (*empty) return IMP_OK;
    if (shape->min_length <= dfa->shortest[dfa->start]) shape->min_length = 0;
    if (shape->max_length >= dfa->longest[dfa->start]) shape->max_length = DFA_UNBOUNDED;
    if (shape->min_length == 0 || shape->max_length == DFA_UNBOUNDED) return IMP_OK;
    ImpStatus status = dfa_with_lengths(set->arena, dfa, shape->min_length, &shape->dfa);
    if (status == IMP_ERR_LIMIT) {
        const Dfa *parts[2] = {dfa, NULL};
        status = dfa_from_lengths(set->arena, shape->min_length, shape->max_length, &parts[1]);
        if (status == IMP_OK) status = dfa_combine(set->arena, parts, 2, NULL, 0, MAX_STRING_STATES, &shape->dfa);
        shape->min_length = 0;
        shape->max_length = DFA_UNBOUNDED;
    }
    if (status != IMP_OK) return imp_fail_prefix(status, "schema: a pattern with minLength and maxLength");
    *empty = !dfa_within(shape->dfa, shape->dfa->start, shape->min_length, shape->max_length);
    return IMP_OK;
}

ImpStatus build_string(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry)
{
    StringShape *shape = arena_alloc(set->arena, 1, sizeof *shape);
    if (shape == NULL) return imp_fail_memory(sizeof *shape);
    const Atom *list = allowing_list(conjunction);
    bool empty = false;
    if (list != NULL) {
        IMP_TRY(list_strings(set, conjunction, list, shape));
        empty = shape->n_strings == 0;
    } else {
        IMP_TRY(combine_patterns(set, conjunction, &shape->dfa));
        IMP_TRY(fit_lengths(set, conjunction, shape, &empty));
        if (!empty && shape->dfa != NULL && shape->dfa->universal[shape->dfa->start]) shape->dfa = NULL;
    }
    if (empty) return IMP_OK;
    return push_shape(set, (void ***)(void *)&entry->goal.strings, &entry->goal.n_strings, &entry->string_capacity, shape);
}

static bool shape_accepts(const StringShape *shape, const char *text, size_t length)
{
    if (shape->listed) {
        for (size_t i = 0; i < shape->n_strings; i++) {
            if (shape->lengths[i] == length && memcmp(shape->strings[i], text, length) == 0) return true;
        }
        return false;
    }
    uint32_t characters = 0;
    for (size_t at = 0; at < length; characters++) (void)utf8_next(text, length, &at);
    if (characters < shape->min_length || characters > shape->max_length) return false;
    return shape->dfa == NULL || dfa_match(shape->dfa, text, length) != 0;
}

bool goal_accepts_string(const Goal *goal, const char *text, size_t length)
{
    for (size_t i = 0; i < goal->n_strings; i++) {
        if (shape_accepts(goal->strings[i], text, length)) return true;
    }
    return false;
}

static ImpStatus shape_automaton(GoalSet *set, const StringShape *shape, const Dfa **out)
{
    if (shape->listed) return dfa_from_strings(set->arena, shape->strings, shape->lengths, shape->n_strings, out);
    const bool counted = shape->min_length > 0 || shape->max_length != DFA_UNBOUNDED;
    if (!counted && shape->dfa != NULL) {
        *out = shape->dfa;
        return IMP_OK;
    }
    const Dfa *parts[2] = {NULL, shape->dfa};
    IMP_TRY(dfa_from_lengths(set->arena, shape->min_length, shape->max_length, &parts[0]));
    return dfa_combine(set->arena, parts, shape->dfa == NULL ? 1 : 2, NULL, 0, MAX_STRING_STATES, out);
}

static uint32_t label_any(const void *context, uint64_t accepted)
{
    (void)context;
    return accepted != 0;
}

ImpStatus goal_strings(GoalSet *set, const Goal *goal, const Dfa **out)
{
    const Dfa *parts[DFA_MAX_PARTS];
    if (goal->n_strings > DFA_MAX_PARTS) return imp_fail(IMP_ERR_LIMIT, "schema: propertyNames has too many alternatives");
    if (goal->n_strings == 0) return dfa_from_strings(set->arena, NULL, NULL, 0, out);
    for (size_t i = 0; i < goal->n_strings; i++) IMP_TRY(shape_automaton(set, goal->strings[i], &parts[i]));
    return dfa_product(set->arena, parts, goal->n_strings, label_any, NULL, MAX_STRING_STATES, out);
}

/*
 * Arrays: kept here because they are short.
 */
typedef struct ArrayDemands {
    const Atom *contains[SHAPE_MAX_CONTAINS];
    size_t n_contains, n_positions;
} ArrayDemands;

static ImpStatus gather_contains(const Conjunction *conjunction, ArrayDemands *demands)
{
    for (const AtomCell *cell = conjunction->lists[ATOM_CONTAINS]; cell != NULL; cell = cell->next) {
        if (cell->atom.min == 0 && cell->atom.max == SHAPE_UNBOUNDED) continue;
        if (demands->n_contains == SHAPE_MAX_CONTAINS)
            return imp_fail(IMP_ERR_LIMIT, "schema, %s: more than %d demands on items at once", cell->atom.place,
                            SHAPE_MAX_CONTAINS);
        demands->contains[demands->n_contains++] = &cell->atom;
        if (cell->atom.from > demands->n_positions) demands->n_positions = cell->atom.from;
    }
    return IMP_OK;
}

static void gather_positions(const Conjunction *conjunction, ArrayDemands *demands)
{
    for (const AtomCell *cell = conjunction->lists[ATOM_ITEM_GROUP]; cell != NULL; cell = cell->next) {
        if (cell->atom.as.item_group->n_prefix > demands->n_positions)
            demands->n_positions = cell->atom.as.item_group->n_prefix;
    }
    for (const AtomCell *cell = conjunction->lists[ATOM_ITEM]; cell != NULL; cell = cell->next) {
        if (cell->atom.min + 1 > demands->n_positions) demands->n_positions = cell->atom.min + 1;
    }
}

/* Whether something inside the scope of an unevaluatedItems looked at the item at `index`. */
static ImpStatus item_is_evaluated(GoalSet *set, const Conjunction *conjunction, const Atom *listener, size_t index,
                                   bool *out)
{
    *out = false;
    for (const AtomCell *cell = conjunction->lists[ATOM_ITEM_GROUP]; cell != NULL; cell = cell->next) {
        const ItemGroup *group = cell->atom.as.item_group;
        if (scope_contains(set, listener->scope, cell->atom.scope))
            *out = *out || group->has_rest || index < group->n_prefix;
    }
    for (const AtomCell *cell = conjunction->lists[ATOM_UNEVALUATED_ITEMS]; cell != NULL; cell = cell->next) {
        if (cell->atom.scope != listener->scope) *out = *out || scope_contains(set, listener->scope, cell->atom.scope);
    }
    for (const AtomCell *cell = conjunction->lists[ATOM_CONTAINS]; cell != NULL; cell = cell->next) {
        if (scope_contains(set, listener->scope, cell->atom.scope))
            return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: unevaluatedItems beside contains", listener->place);
    }
    return IMP_OK;
}

static ImpStatus item_literals(GoalSet *set, const Conjunction *conjunction, size_t index, LiteralList *out)
{
    for (const AtomCell *cell = conjunction->lists[ATOM_ITEM_GROUP]; cell != NULL; cell = cell->next) {
        const ItemGroup *group = cell->atom.as.item_group;
        if (index < group->n_prefix) IMP_TRY(literal_list_add(set, out, group->prefix[index]));
        else if (group->has_rest) IMP_TRY(literal_list_add(set, out, group->rest));
    }
    for (const AtomCell *cell = conjunction->lists[ATOM_ITEM]; cell != NULL; cell = cell->next) {
        if (cell->atom.min == index) IMP_TRY(literal_list_add(set, out, cell->atom.literal));
    }
    for (const AtomCell *cell = conjunction->lists[ATOM_UNEVALUATED_ITEMS]; cell != NULL; cell = cell->next) {
        bool evaluated = false;
        IMP_TRY(item_is_evaluated(set, conjunction, &cell->atom, index, &evaluated));
        if (!evaluated) IMP_TRY(literal_list_add(set, out, cell->atom.literal));
    }
    return IMP_OK;
}

/* The goal of an item that counts for the demands in `subset` (and for no other that has a maximum). */
static ImpStatus item_goal(GoalSet *set, const Conjunction *conjunction, const ArrayDemands *demands, size_t index,
                           size_t subset, const Goal **out)
{
    LiteralList literals = {0};
    IMP_TRY(item_literals(set, conjunction, index, &literals));
    *out = NULL;
    for (size_t k = 0; k < demands->n_contains; k++) {
        const Atom *atom = demands->contains[k];
        const bool counts = (subset >> k & 1) != 0;
        if (counts && index < atom->from) return IMP_OK;
        if (index < atom->from || (!counts && atom->max == SHAPE_UNBOUNDED)) continue;
        IMP_TRY(literal_list_add(set, &literals, (Literal){atom->literal.node, atom->literal.negated == counts}));
    }
    GoalEntry *entry = NULL;
    IMP_TRY(goal_get(set, &literals, &entry));
    *out = &entry->goal;
    return IMP_OK;
}

/* Items that must be there must be possible. */
static ImpStatus items_possible(GoalSet *set, const ArrayShape *shape, bool *out)
{
    const size_t subsets = (size_t)1 << shape->n_contains;
    *out = true;
    for (size_t i = 0; i < shape->min_items && i <= shape->n_positions && *out; i++) {
        bool any = false;
        for (size_t s = 0; s < subsets && !any; s++) {
            const Goal *goal = shape->goals[i * subsets + s];
            if (goal != NULL) IMP_TRY(goal_satisfiable(set, set->entries[goal->id], &any));
        }
        *out = any;
    }
    return IMP_OK;
}

ImpStatus build_array(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry)
{
    ArrayDemands demands = {0};
    IMP_TRY(gather_contains(conjunction, &demands));
    gather_positions(conjunction, &demands);
    if (demands.n_positions > 10000) return imp_fail(IMP_ERR_LIMIT, "schema: more than 10000 places in an array");
    if (demands.n_positions > conjunction->max_items) demands.n_positions = conjunction->max_items;
    ArrayShape *shape = arena_alloc(set->arena, 1, sizeof *shape);
    if (shape == NULL) return imp_fail_memory(sizeof *shape);
    const size_t subsets = (size_t)1 << demands.n_contains;
    shape->min_items = conjunction->min_items;
    shape->max_items = conjunction->max_items;
    shape->unique = conjunction->unique;
    shape->n_positions = demands.n_positions;
    shape->n_contains = demands.n_contains;
    shape->goals = arena_alloc(set->arena, (demands.n_positions + 1) * subsets, sizeof *shape->goals);
    if (shape->goals == NULL) return imp_fail_memory(subsets * sizeof *shape->goals);
    for (size_t k = 0; k < demands.n_contains; k++) {
        shape->contains[k].min = demands.contains[k]->min;
        shape->contains[k].max = demands.contains[k]->max;
        shape->contains[k].from = demands.contains[k]->from;
        const bool bounded = demands.contains[k]->max != SHAPE_UNBOUNDED || shape->max_items != SHAPE_UNBOUNDED;
        if (demands.n_contains > 1 && bounded)
            return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: several contains in an array of bounded size",
                            demands.contains[k]->place);
    }
    for (size_t i = 0; i <= demands.n_positions && i < conjunction->max_items; i++) {
        for (size_t s = 0; s < subsets; s++)
            IMP_TRY(item_goal(set, conjunction, &demands, i, s, &shape->goals[i * subsets + s]));
    }
    bool possible = false;
    IMP_TRY(items_possible(set, shape, &possible));
    if (!possible) return IMP_OK;
    return push_shape(set, (void ***)(void *)&entry->goal.arrays, &entry->goal.n_arrays, &entry->array_capacity, shape);
}

/* Adds a finished object shape (shape_object.c). */
ImpStatus push_object(GoalSet *set, GoalEntry *entry, ObjectShape *shape)
{
    return push_shape(set, (void ***)(void *)&entry->goal.objects, &entry->goal.n_objects, &entry->object_capacity, shape);
}
