/*
 * conjunction.c - atoms: what each adds to a conjunction, and what its negation is.
 */
#include "runtime/constraint/conjunction.h"

#include <string.h>

ImpStatus atom_list_add(Arena *arena, AtomList *list, Atom atom)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity * 2 + 4;
        Atom *grown = arena_alloc(arena, capacity, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        if (list->count != 0) memcpy(grown, list->atoms, list->count * sizeof *grown);
        list->atoms = grown;
        list->capacity = capacity;
    }
    list->atoms[list->count++] = atom;
    return IMP_OK;
}

/*
 * Negation. An alternative first fixes the type, because the negation of "if a string, …" begins with "it is a string".
 */
typedef struct Alternatives {
    Arena *arena;
    AtomList *lists;
    size_t count, capacity;
} Alternatives;

/* Opens an alternative that holds only for `types`. */
static ImpStatus open_alternative(Alternatives *out, uint8_t types, const Atom *from)
{
    if (out->count == out->capacity) {
        const size_t capacity = out->capacity * 2 + 4;
        AtomList *grown = arena_alloc(out->arena, capacity, sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        if (out->count != 0) memcpy(grown, out->lists, out->count * sizeof *grown);
        out->lists = grown;
        out->capacity = capacity;
    }
    out->lists[out->count++] = (AtomList){0};
    if (types == TYPE_ALL) return IMP_OK;
    return atom_list_add(out->arena, &out->lists[out->count - 1],
                         (Atom){.kind = ATOM_TYPES, .types = types, .place = from->place});
}

static ImpStatus add_alternative_atom(Alternatives *out, Atom atom, const Atom *from)
{
    atom.place = from->place;
    return atom_list_add(out->arena, &out->lists[out->count - 1], atom);
}

/* One alternative of a type and one atom. */
static ImpStatus add_simple(Alternatives *out, uint8_t types, Atom atom, const Atom *from)
{
    IMP_TRY(open_alternative(out, types, from));
    return add_alternative_atom(out, atom, from);
}

static Literal opposite(Literal literal) { return (Literal){literal.node, !literal.negated}; }

static ImpStatus negate_flag(Alternatives *out, const Atom *atom, uint8_t types)
{
    Atom flipped = *atom;
    flipped.negated = !atom->negated;
    return add_simple(out, types, flipped, atom);
}

static ImpStatus negate_literal(Alternatives *out, const Atom *atom)
{
    return add_simple(out, TYPE_ALL, (Atom){.kind = ATOM_LITERAL, .literal = opposite(atom->literal)}, atom);
}

/* Not (A or B): not A and not B, each of which is a choice of its own. */
static ImpStatus negate_choice(Alternatives *out, const Atom *atom)
{
    IMP_TRY(open_alternative(out, TYPE_ALL, atom));
    const size_t alternative = out->count - 1;
    for (size_t i = 0; i < atom->as.choice->count; i++) {
        const AtomList *list = &atom->as.choice->alternatives[i];
        Alternatives inner = {.arena = out->arena};
        for (size_t k = 0; k < list->count; k++) {
            Choice part = {0};
            IMP_TRY(atom_negate(out->arena, &list->atoms[k], &part));
            for (size_t a = 0; a < part.count; a++) {
                IMP_TRY(open_alternative(&inner, TYPE_ALL, atom));
                inner.lists[inner.count - 1] = part.alternatives[a];
            }
        }
        Choice *choice = arena_alloc(out->arena, 1, sizeof *choice);
        if (choice == NULL) return imp_fail_memory(sizeof *choice);
        *choice = (Choice){inner.lists, inner.count, false};
        IMP_TRY(atom_list_add(out->arena, &out->lists[alternative],
                              (Atom){.kind = ATOM_CHOICE, .place = atom->place, .as.choice = choice}));
    }
    return IMP_OK;
}

static ImpStatus negate_types(Alternatives *out, const Atom *atom)
{
    static const NumberForm opposites[] = {[NUMBER_INTEGRAL] = NUMBER_FRACTIONAL,
                                           [NUMBER_FRACTIONAL] = NUMBER_INTEGRAL,
                                           [NUMBER_INTEGER_TEXT] = NUMBER_FLOAT_TEXT,
                                           [NUMBER_FLOAT_TEXT] = NUMBER_INTEGER_TEXT};
    Atom rest = {.kind = ATOM_TYPES, .types = (uint8_t)(TYPE_ALL & ~atom->types)};
    if ((atom->types & TYPE_NUMBER) != 0 && atom->form != NUMBER_ANY) {
        rest.types |= TYPE_NUMBER;
        rest.form = opposites[atom->form];
    }
    return add_simple(out, TYPE_ALL, rest, atom);
}

static ImpStatus negate_bound(Alternatives *out, const Atom *atom)
{
    Atom flipped = *atom;
    flipped.upper = !atom->upper;
    flipped.exclusive = !atom->exclusive;
    return add_simple(out, TYPE_NUMBER, flipped, atom);
}

/* Fewer than min, or more than max. */
static ImpStatus negate_range(Alternatives *out, const Atom *atom, uint8_t types)
{
    Atom outside = *atom;
    if (atom->min > 0) {
        outside.min = 0;
        outside.max = atom->min - 1;
        IMP_TRY(add_simple(out, types, outside, atom));
    }
    if (atom->max != SHAPE_UNBOUNDED) {
        outside.min = atom->max + 1;
        outside.max = SHAPE_UNBOUNDED;
        IMP_TRY(add_simple(out, types, outside, atom));
    }
    return IMP_OK;
}

static ImpStatus negate_item(Alternatives *out, const Atom *atom)
{
    IMP_TRY(add_simple(out, TYPE_ARRAY,
                       (Atom){.kind = ATOM_ITEM, .min = atom->min, .literal = opposite(atom->literal)}, atom));
    return add_alternative_atom(
        out, (Atom){.kind = ATOM_ITEM_COUNT, .min = atom->min + 1, .max = SHAPE_UNBOUNDED}, atom);
}

static ImpStatus negate_item_group(Alternatives *out, const Atom *atom)
{
    const ItemGroup *group = atom->as.item_group;
    for (size_t i = 0; i < group->n_prefix; i++) {
        Atom item = {.kind = ATOM_ITEM, .min = i, .literal = group->prefix[i], .place = atom->place};
        IMP_TRY(negate_item(out, &item));
    }
    if (!group->has_rest) return IMP_OK;
    return add_simple(out, TYPE_ARRAY,
                      (Atom){.kind = ATOM_CONTAINS,
                             .min = 1,
                             .max = SHAPE_UNBOUNDED,
                             .from = group->n_prefix,
                             .literal = opposite(group->rest)},
                      atom);
}

static ImpStatus negate_property(Alternatives *out, const Atom *atom)
{
    Atom property = {.kind = ATOM_PROPERTY,
                     .name = atom->name,
                     .name_length = atom->name_length,
                     .literal = opposite(atom->literal)};
    IMP_TRY(add_simple(out, TYPE_OBJECT, property, atom));
    property.kind = ATOM_REQUIRED;
    return add_alternative_atom(out, property, atom);
}

static ImpStatus negate_object_group(Alternatives *out, const Atom *atom)
{
    const ObjectGroup *group = atom->as.object_group;
    for (size_t i = 0; i < group->names.count; i++) {
        Atom property = {.kind = ATOM_PROPERTY,
                         .name = group->names.texts[i],
                         .name_length = group->names.lengths[i],
                         .literal = group->properties[i],
                         .place = atom->place};
        IMP_TRY(negate_property(out, &property));
    }
    for (size_t i = 0; i < group->n_patterns; i++) {
        const Atom exists = {
            .kind = ATOM_EXISTS, .as.dfa = group->patterns[i], .literal = opposite(group->pattern_literals[i])};
        IMP_TRY(add_simple(out, TYPE_OBJECT, exists, atom));
    }
    if (!group->has_additional) return IMP_OK;
    const Atom exists = {
        .kind = ATOM_EXISTS, .exclusive = true, .as.object_group = group, .literal = opposite(group->additional)};
    return add_simple(out, TYPE_OBJECT, exists, atom);
}

static ImpStatus negate_required(Alternatives *out, const Atom *atom)
{
    /* "Not required" is never asked of a true schema, so the literal is there to be flipped: see keyword.c. */
    const Atom absent = {.kind = ATOM_PROPERTY,
                         .name = atom->name,
                         .name_length = atom->name_length,
                         .literal = atom->literal};
    return add_simple(out, TYPE_OBJECT, absent, atom);
}

static ImpStatus negate_dependent(Alternatives *out, const Atom *atom)
{
    for (size_t i = 0; i < atom->as.names->count; i++) {
        Atom present = {.kind = ATOM_REQUIRED,
                        .name = atom->name,
                        .name_length = atom->name_length,
                        .literal = atom->literal};
        IMP_TRY(add_simple(out, TYPE_OBJECT, present, atom));
        present.kind = ATOM_PROPERTY;
        present.name = atom->as.names->texts[i];
        present.name_length = atom->as.names->lengths[i];
        IMP_TRY(add_alternative_atom(out, present, atom));
    }
    return IMP_OK;
}

static ImpStatus negate_impossible(const Atom *atom)
{
    return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: cannot be enforced under a negation (not, if, oneOf)", atom->place);
}

ImpStatus atom_negate(Arena *arena, const Atom *atom, Choice *out)
{
    Alternatives alternatives = {.arena = arena};
    Alternatives *a = &alternatives;
    ImpStatus status = IMP_OK;
    switch (atom->kind) {
    case ATOM_LITERAL: status = negate_literal(a, atom); break;
    case ATOM_CHOICE: status = negate_choice(a, atom); break;
    case ATOM_TYPES: status = negate_types(a, atom); break;
    case ATOM_SCALARS: status = negate_flag(a, atom, TYPE_ALL); break;
    case ATOM_BOUND: status = negate_bound(a, atom); break;
    case ATOM_MULTIPLE: status = negate_flag(a, atom, TYPE_NUMBER); break;
    case ATOM_PATTERN: status = negate_flag(a, atom, TYPE_STRING); break;
    case ATOM_LENGTH: status = negate_range(a, atom, TYPE_STRING); break;
    case ATOM_ITEM_COUNT:
    case ATOM_CONTAINS: status = negate_range(a, atom, TYPE_ARRAY); break;
    case ATOM_ITEM_GROUP: status = negate_item_group(a, atom); break;
    case ATOM_ITEM: status = negate_item(a, atom); break;
    case ATOM_PROPERTY_COUNT: status = negate_range(a, atom, TYPE_OBJECT); break;
    case ATOM_OBJECT_GROUP: status = negate_object_group(a, atom); break;
    case ATOM_PROPERTY: status = negate_property(a, atom); break;
    case ATOM_REQUIRED: status = negate_required(a, atom); break;
    case ATOM_DEPENDENT: status = negate_dependent(a, atom); break;
    case ATOM_UNIQUE:
    case ATOM_NAMES:
    case ATOM_EXISTS:
    case ATOM_UNEVALUATED_PROPERTIES:
    case ATOM_UNEVALUATED_ITEMS:
    case ATOM_KINDS: status = negate_impossible(atom); break;
    }
    *out = (Choice){alternatives.lists, alternatives.count, false};
    return status;
}

Conjunction conjunction_anything(void)
{
    return (Conjunction){.types = TYPE_ALL,
                         .max_length = SHAPE_UNBOUNDED,
                         .max_items = SHAPE_UNBOUNDED,
                         .max_properties = SHAPE_UNBOUNDED};
}

ImpStatus conjunction_keep(Arena *scratch, Conjunction *conjunction, const Atom *atom)
{
    AtomCell *cell = arena_alloc(scratch, 1, sizeof *cell);
    if (cell == NULL) return imp_fail_memory(sizeof *cell);
    *cell = (AtomCell){conjunction->lists[atom->kind], *atom};
    conjunction->lists[atom->kind] = cell;
    return IMP_OK;
}

static void narrow_range(uint64_t *min, uint64_t *max, const Atom *atom)
{
    if (atom->min > *min) *min = atom->min;
    if (atom->max < *max) *max = atom->max;
}

/* Both forms at once; numbers are ruled out when they contradict each other. */
static void add_form(Conjunction *conjunction, NumberForm form)
{
    if (form == NUMBER_ANY || form == conjunction->form) return;
    if (conjunction->form == NUMBER_ANY) conjunction->form = form;
    else conjunction->types &= (uint8_t)~TYPE_NUMBER;
}

static void add_bound(Conjunction *conjunction, const Atom *atom)
{
    NumberBound *bound = atom->upper ? &conjunction->high : &conjunction->low;
    const int order = bound->present ? decimal_compare(atom->number, bound->value) : 0;
    const bool tighter = atom->upper ? order < 0 : order > 0;
    if (!bound->present || tighter) *bound = (NumberBound){true, atom->exclusive, atom->number};
    else if (order == 0 && atom->exclusive) bound->exclusive = true;
}

static uint8_t scalar_types(const Atom *atom)
{
    static const uint8_t types[] = {[JSON_VALUE_NULL] = TYPE_NULL,     [JSON_VALUE_FALSE] = TYPE_FALSE,
                                    [JSON_VALUE_TRUE] = TYPE_TRUE,     [JSON_VALUE_NUMBER] = TYPE_NUMBER,
                                    [JSON_VALUE_STRING] = TYPE_STRING, [JSON_VALUE_ARRAY] = 0,
                                    [JSON_VALUE_OBJECT] = 0};
    uint8_t all = 0;
    for (size_t i = 0; i < atom->n_values; i++) all |= types[atom->as.values[i]->type];
    return all;
}

ImpStatus conjunction_add(Arena *scratch, Conjunction *conjunction, const Atom *atom)
{
    const uint8_t whole = TYPE_NULL | TYPE_FALSE | TYPE_TRUE;
    switch (atom->kind) {
    case ATOM_TYPES:
        conjunction->types &= atom->types;
        add_form(conjunction, atom->form);
        return IMP_OK;
    case ATOM_SCALARS:
        /* null, false and true are values of their own: the types say it all. */
        if (atom->negated) conjunction->types &= (uint8_t)~(scalar_types(atom) & whole);
        else conjunction->types &= scalar_types(atom);
        return conjunction_keep(scratch, conjunction, atom);
    case ATOM_BOUND: add_bound(conjunction, atom); return IMP_OK;
    case ATOM_LENGTH: narrow_range(&conjunction->min_length, &conjunction->max_length, atom); return IMP_OK;
    case ATOM_ITEM_COUNT: narrow_range(&conjunction->min_items, &conjunction->max_items, atom); return IMP_OK;
    case ATOM_PROPERTY_COUNT:
        narrow_range(&conjunction->min_properties, &conjunction->max_properties, atom);
        return IMP_OK;
    case ATOM_UNIQUE: conjunction->unique = atom->place; return IMP_OK;
    default: return conjunction_keep(scratch, conjunction, atom);
    }
}
