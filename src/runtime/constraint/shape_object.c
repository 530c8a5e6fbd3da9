/*
 * shape_object.c - object shapes from conjunctions.
 *
 * Names that some keyword mentions get goals of their own. All other keys are free: an automaton, the product of all
 * patternProperties and propertyNames involved, sorts them into classes by what they match, and each class has a goal.
 */
#include "runtime/constraint/goal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_KEY_STATES = 30000, MAX_CLASSES = 4096, MAX_DEPENDENT_WORK = 100000 };

typedef struct ObjectBuild {
    GoalSet *set;
    const Conjunction *conjunction;
    ObjectShape *shape;
    ObjectDraft *draft;
    const Atom *exists[SHAPE_MAX_EXISTS];
    GoalEntry *names_goal; /* what propertyNames demands; NULL without it */
    ImpStatus status;      /* of a label that could not be made */
} ObjectBuild;

static bool list_has(const NameList *names, const char *name, size_t length)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names->lengths[i] == length && memcmp(names->texts[i], name, length) == 0) return true;
    }
    return false;
}

/* Adds the demands of one group on a property; *looked tells whether a keyword of the group covered it. */
static ImpStatus group_literals(GoalSet *set, const ObjectGroup *group, const char *name, size_t length, LiteralList *out,
                                bool *looked)
{
    size_t low = 0;
    size_t high = group->names.count;
    *looked = false;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (name_compare(group->names.texts[middle], group->names.lengths[middle], name, length) < 0) low = middle + 1;
        else high = middle;
    }
    for (; low < group->names.count; low++) {
        if (name_compare(group->names.texts[low], group->names.lengths[low], name, length) != 0) break;
        IMP_TRY(literal_list_add(set, out, group->properties[low]));
        *looked = true;
    }
    for (size_t i = 0; i < group->n_patterns; i++) {
        if (dfa_match(group->patterns[i], name, length) == 0) continue;
        IMP_TRY(literal_list_add(set, out, group->pattern_literals[i]));
        *looked = true;
    }
    if (*looked || !group->has_additional) return IMP_OK;
    *looked = true;
    return literal_list_add(set, out, group->additional);
}

/* Something strictly inside the scope of an unevaluatedProperties looks at every property. */
static bool inner_listener(const GoalSet *set, const Conjunction *conjunction, const Atom *listener)
{
    for (const AtomCell *cell = conjunction->lists[ATOM_UNEVALUATED_PROPERTIES]; cell != NULL; cell = cell->next) {
        if (cell->atom.scope != listener->scope && scope_contains(set, listener->scope, cell->atom.scope)) return true;
    }
    return false;
}

static ImpStatus unevaluated_literals(GoalSet *set, const Conjunction *conjunction, const char *name, size_t length,
                                      LiteralList *out)
{
    for (const AtomCell *cell = conjunction->lists[ATOM_UNEVALUATED_PROPERTIES]; cell != NULL; cell = cell->next) {
        bool looked = inner_listener(set, conjunction, &cell->atom);
        for (const AtomCell *g = conjunction->lists[ATOM_OBJECT_GROUP]; g != NULL && !looked; g = g->next) {
            LiteralList ignored = {0};
            if (scope_contains(set, cell->atom.scope, g->atom.scope))
                IMP_TRY(group_literals(set, g->atom.as.object_group, name, length, &ignored, &looked));
        }
        if (!looked) IMP_TRY(literal_list_add(set, out, cell->atom.literal));
    }
    return IMP_OK;
}

static bool is_never(const GoalSet *set, Literal literal)
{
    const SchemaNode *node = literal.node;
    while (node->only_reference) node = node->reference;
    return node == schema_boolean(set->document, false) ? !literal.negated
           : node->kind == SCHEMA_RULES && node->value->type == JSON_VALUE_FALSE ? !literal.negated
           : node->kind == SCHEMA_RULES && node->value->type == JSON_VALUE_TRUE  ? literal.negated
                                                                                 : false;
}

static bool has_never(const GoalSet *set, const LiteralList *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (is_never(set, list->literals[i])) return true;
    }
    return false;
}

ImpStatus property_literals(GoalSet *set, const Conjunction *conjunction, const char *name, size_t length,
                            LiteralList *out, bool *allowed)
{
    bool looked = false;
    for (const AtomCell *cell = conjunction->lists[ATOM_OBJECT_GROUP]; cell != NULL; cell = cell->next)
        IMP_TRY(group_literals(set, cell->atom.as.object_group, name, length, out, &looked));
    for (const AtomCell *cell = conjunction->lists[ATOM_PROPERTY]; cell != NULL; cell = cell->next) {
        if (cell->atom.name_length == length && memcmp(cell->atom.name, name, length) == 0)
            IMP_TRY(literal_list_add(set, out, cell->atom.literal));
    }
    IMP_TRY(unevaluated_literals(set, conjunction, name, length, out));
    *allowed = !has_never(set, out);
    return IMP_OK;
}

ImpStatus object_contradicts(GoalSet *set, const Conjunction *conjunction, bool *out)
{
    *out = false;
    for (const AtomCell *cell = conjunction->lists[ATOM_REQUIRED]; cell != NULL && !*out; cell = cell->next) {
        LiteralList literals = {0};
        bool possible = false;
        GoalEntry *entry = NULL;
        IMP_TRY(property_literals(set, conjunction, cell->atom.name, cell->atom.name_length, &literals, &possible));
        if (possible) IMP_TRY(goal_get(set, &literals, &entry));
        if (possible) IMP_TRY(goal_satisfiable(set, entry, &possible));
        *out = !possible;
    }
    return IMP_OK;
}

/* An EXISTS atom holds for a key with this name (as to the key, not its value). */
static bool exists_covers(const Atom *atom, const char *name, size_t length)
{
    if (!atom->exclusive) return dfa_match(atom->as.dfa, name, length) != 0;
    const ObjectGroup *group = atom->as.object_group;
    if (list_has(&group->names, name, length)) return false;
    for (size_t i = 0; i < group->n_patterns; i++) {
        if (dfa_match(group->patterns[i], name, length) != 0) return false;
    }
    return true;
}

/*
 * Names.
 */
static ImpStatus add_name(const ObjectBuild *build, NameList *list, size_t *capacity, const char *text, size_t length)
{
    if (list->count == *capacity) {
        const size_t larger = *capacity * 2 + 8;
        const char **texts = arena_alloc(build->set->scratch, larger, sizeof *texts);
        size_t *lengths = arena_alloc(build->set->scratch, larger, sizeof *lengths);
        if (texts == NULL || lengths == NULL) return imp_fail_memory(larger * sizeof *texts);
        if (list->count != 0) memcpy(texts, list->texts, list->count * sizeof *texts);
        if (list->count != 0) memcpy(lengths, list->lengths, list->count * sizeof *lengths);
        list->texts = texts;
        list->lengths = lengths;
        *capacity = larger;
    }
    ((const char **)(uintptr_t)list->texts)[list->count] = text;
    ((size_t *)(uintptr_t)list->lengths)[list->count++] = length;
    return IMP_OK;
}

static ImpStatus add_names(const ObjectBuild *build, NameList *list, size_t *capacity, const NameList *more)
{
    for (size_t i = 0; i < more->count; i++) IMP_TRY(add_name(build, list, capacity, more->texts[i], more->lengths[i]));
    return IMP_OK;
}

static int compare_names(const void *left, const void *right)
{
    const ObjectName *a = left;
    const ObjectName *b = right;
    return name_compare(a->text, a->length, b->text, b->length);
}

/* Every name that a demand mentions, sorted. */
static ImpStatus collect_names(ObjectBuild *build)
{
    const Conjunction *c = build->conjunction;
    NameList all = {0};
    size_t capacity = 0;
    for (const AtomCell *cell = c->lists[ATOM_OBJECT_GROUP]; cell != NULL; cell = cell->next)
        IMP_TRY(add_names(build, &all, &capacity, &cell->atom.as.object_group->names));
    for (const AtomCell *cell = c->lists[ATOM_PROPERTY]; cell != NULL; cell = cell->next)
        IMP_TRY(add_name(build, &all, &capacity, cell->atom.name, cell->atom.name_length));
    for (const AtomCell *cell = c->lists[ATOM_REQUIRED]; cell != NULL; cell = cell->next)
        IMP_TRY(add_name(build, &all, &capacity, cell->atom.name, cell->atom.name_length));
    for (const AtomCell *cell = c->lists[ATOM_DEPENDENT]; cell != NULL; cell = cell->next) {
        IMP_TRY(add_name(build, &all, &capacity, cell->atom.name, cell->atom.name_length));
        IMP_TRY(add_names(build, &all, &capacity, cell->atom.as.names));
    }
    for (const AtomCell *cell = c->lists[ATOM_EXISTS]; cell != NULL; cell = cell->next) {
        if (cell->atom.exclusive) IMP_TRY(add_names(build, &all, &capacity, &cell->atom.as.object_group->names));
    }
    ObjectName *names = arena_alloc(build->set->arena, all.count, sizeof *names);
    if (names == NULL) return imp_fail_memory(all.count * sizeof *names);
    for (size_t i = 0; i < all.count; i++) names[i] = (ObjectName){.text = all.texts[i], .length = all.lengths[i]};
    qsort(names, all.count, sizeof *names, compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < all.count; i++) {
        if (kept == 0 || compare_names(&names[kept - 1], &names[i]) != 0) names[kept++] = names[i];
    }
    build->shape->names = names;
    build->shape->n_names = kept;
    return IMP_OK;
}

/* Goals for each subset of the EXISTS demands that this property's value is to satisfy too; NULL where impossible. */
static ImpStatus subset_goals(ObjectBuild *build, const LiteralList *base, const bool *covers, const Goal **goals)
{
    GoalSet *set = build->set;
    for (size_t s = 0; s < (size_t)1 << build->shape->n_exists; s++) {
        LiteralList literals = {0};
        bool possible = true;
        for (size_t i = 0; i < base->count; i++) IMP_TRY(literal_list_add(set, &literals, base->literals[i]));
        for (size_t e = 0; e < build->shape->n_exists; e++) {
            if ((s >> e & 1) == 0) continue;
            possible = possible && covers[e];
            IMP_TRY(literal_list_add(set, &literals, build->exists[e]->literal));
        }
        GoalEntry *entry = NULL;
        goals[s] = NULL;
        if (!possible || has_never(set, &literals)) continue;
        IMP_TRY(goal_get(set, &literals, &entry));
        goals[s] = &entry->goal;
    }
    return IMP_OK;
}

static ImpStatus build_names(ObjectBuild *build)
{
    ObjectShape *shape = build->shape;
    for (size_t i = 0; i < shape->n_names; i++) {
        ObjectName *name = &shape->names[i];
        LiteralList literals = {0};
        bool allowed = true;
        bool covers[SHAPE_MAX_EXISTS] = {false};
        name->goals = arena_alloc(build->set->arena, (size_t)1 << shape->n_exists, sizeof *name->goals);
        if (name->goals == NULL) return imp_fail_memory(sizeof *name->goals);
        if (build->names_goal != NULL) allowed = goal_accepts_string(&build->names_goal->goal, name->text, name->length);
        if (!allowed) continue;
        IMP_TRY(property_literals(build->set, build->conjunction, name->text, name->length, &literals, &allowed));
        for (size_t e = 0; e < shape->n_exists; e++)
            covers[e] = exists_covers(build->exists[e], name->text, name->length);
        if (allowed) IMP_TRY(subset_goals(build, &literals, covers, name->goals));
    }
    return IMP_OK;
}

/* A required name whose value is impossible makes the shape impossible. */
static ImpStatus required_possible(ObjectBuild *build, bool *out)
{
    ObjectShape *shape = build->shape;
    NameList required = {0};
    size_t capacity = 0;
    *out = true;
    for (const AtomCell *cell = build->conjunction->lists[ATOM_REQUIRED]; cell != NULL && *out; cell = cell->next) {
        const ObjectName key = {.text = cell->atom.name, .length = cell->atom.name_length};
        ObjectName *name = bsearch(&key, shape->names, shape->n_names, sizeof key, compare_names);
        name->is_required = true;
        *out = name->goals[0] != NULL;
        if (*out) IMP_TRY(goal_satisfiable(build->set, build->set->entries[name->goals[0]->id], out));
        if (!list_has(&required, key.text, key.length))
            IMP_TRY(add_name(build, &required, &capacity, key.text, key.length));
    }
    build->draft->required = required;
    if (required.count > shape->max_properties) *out = false;
    return IMP_OK;
}

/*
 * Free keys.
 */
static ImpStatus add_part(ObjectBuild *build, const Dfa *dfa)
{
    ObjectDraft *draft = build->draft;
    for (size_t i = 0; i < draft->n_parts; i++) {
        if (draft->parts[i] == dfa) return IMP_OK;
    }
    if (draft->n_parts == DFA_MAX_PARTS)
        return imp_fail(IMP_ERR_LIMIT, "schema: more than %d patternProperties meet in one object", DFA_MAX_PARTS);
    draft->parts[draft->n_parts++] = dfa;
    return IMP_OK;
}

static ImpStatus collect_parts(ObjectBuild *build)
{
    const Conjunction *c = build->conjunction;
    ObjectDraft *draft = build->draft;
    for (const AtomCell *cell = c->lists[ATOM_OBJECT_GROUP]; cell != NULL; cell = cell->next) {
        const ObjectGroup *group = cell->atom.as.object_group;
        for (size_t i = 0; i < group->n_patterns; i++) IMP_TRY(add_part(build, group->patterns[i]));
    }
    for (size_t e = 0; e < build->shape->n_exists; e++) {
        const Atom *atom = build->exists[e];
        const size_t n = atom->exclusive ? atom->as.object_group->n_patterns : 1;
        for (size_t i = 0; i < n; i++)
            IMP_TRY(add_part(build, atom->exclusive ? atom->as.object_group->patterns[i] : atom->as.dfa));
    }
    draft->names_part = DFA_MAX_PARTS;
    if (build->names_goal == NULL) return IMP_OK;
    const Dfa *names = NULL;
    IMP_TRY(goal_strings(build->set, &build->names_goal->goal, &names));
    /* A part of its own even when a pattern is the same automaton: its bit means something else. */
    if (draft->n_parts == DFA_MAX_PARTS)
        return imp_fail(IMP_ERR_LIMIT, "schema: more than %d patternProperties meet in one object", DFA_MAX_PARTS);
    draft->names_part = draft->n_parts;
    draft->parts[draft->n_parts++] = names;
    return IMP_OK;
}

static bool part_accepts(const ObjectDraft *draft, const Dfa *dfa, uint64_t bits)
{
    for (size_t i = 0; i < draft->n_parts; i++) {
        if (draft->parts[i] == dfa && i != draft->names_part) return (bits >> i & 1) != 0;
    }
    return false;
}

/* As group_literals, for a free key that matches the parts in `bits`. */
static ImpStatus class_group_literals(ObjectBuild *build, const ObjectGroup *group, uint64_t bits, LiteralList *out,
                                      bool *looked)
{
    *looked = false;
    for (size_t i = 0; i < group->n_patterns; i++) {
        if (!part_accepts(build->draft, group->patterns[i], bits)) continue;
        IMP_TRY(literal_list_add(build->set, out, group->pattern_literals[i]));
        *looked = true;
    }
    if (*looked || !group->has_additional) return IMP_OK;
    *looked = true;
    return literal_list_add(build->set, out, group->additional);
}

static ImpStatus class_literals(ObjectBuild *build, uint64_t bits, LiteralList *out)
{
    const Conjunction *c = build->conjunction;
    GoalSet *set = build->set;
    bool looked = false;
    for (const AtomCell *cell = c->lists[ATOM_OBJECT_GROUP]; cell != NULL; cell = cell->next)
        IMP_TRY(class_group_literals(build, cell->atom.as.object_group, bits, out, &looked));
    for (const AtomCell *cell = c->lists[ATOM_UNEVALUATED_PROPERTIES]; cell != NULL; cell = cell->next) {
        looked = inner_listener(set, c, &cell->atom);
        for (const AtomCell *g = c->lists[ATOM_OBJECT_GROUP]; g != NULL && !looked; g = g->next) {
            LiteralList ignored = {0};
            if (scope_contains(set, cell->atom.scope, g->atom.scope))
                IMP_TRY(class_group_literals(build, g->atom.as.object_group, bits, &ignored, &looked));
        }
        if (!looked) IMP_TRY(literal_list_add(set, out, cell->atom.literal));
    }
    return IMP_OK;
}

static bool class_covered(const ObjectBuild *build, const Atom *exists, uint64_t bits)
{
    if (!exists->exclusive) return part_accepts(build->draft, exists->as.dfa, bits);
    const ObjectGroup *group = exists->as.object_group;
    for (size_t i = 0; i < group->n_patterns; i++) {
        if (part_accepts(build->draft, group->patterns[i], bits)) return false;
    }
    return true;
}

static ImpStatus grow_classes(ObjectBuild *build)
{
    ObjectShape *shape = build->shape;
    ObjectDraft *draft = build->draft;
    if (shape->n_classes < draft->class_capacity) return IMP_OK;
    const size_t capacity = draft->class_capacity * 2 + 4;
    const size_t subsets = (size_t)1 << shape->n_exists;
    uint64_t *bits = arena_alloc(build->set->scratch, capacity, sizeof *bits);
    uint32_t *labels = arena_alloc(build->set->scratch, capacity, sizeof *labels);
    const Goal **goals = arena_alloc(build->set->arena, capacity * subsets, sizeof *goals);
    if (bits == NULL || labels == NULL || goals == NULL) return imp_fail_memory(capacity * subsets * sizeof *goals);
    if (shape->n_classes != 0) {
        memcpy(bits, draft->class_bits, shape->n_classes * sizeof *bits);
        memcpy(labels, draft->labels, shape->n_classes * sizeof *labels);
        memcpy(goals, shape->class_goals, shape->n_classes * subsets * sizeof *goals);
    }
    draft->class_bits = bits;
    draft->labels = labels;
    shape->class_goals = goals;
    draft->class_capacity = capacity;
    return IMP_OK;
}

/* Makes the class of free keys that match the parts in `bits`; *label 0 when they cannot be. */
static ImpStatus make_class(ObjectBuild *build, uint64_t bits, uint32_t *label)
{
    ObjectShape *shape = build->shape;
    ObjectDraft *draft = build->draft;
    LiteralList literals = {0};
    bool possible = true;
    bool covers[SHAPE_MAX_EXISTS] = {false};
    *label = 0;
    if (shape->n_classes == MAX_CLASSES) return imp_fail(IMP_ERR_LIMIT, "schema: too many kinds of keys in one object");
    IMP_TRY(grow_classes(build));
    if (draft->names_part < draft->n_parts) possible = (bits >> draft->names_part & 1) != 0;
    IMP_TRY(class_literals(build, bits, &literals));
    for (size_t e = 0; e < shape->n_exists; e++) covers[e] = class_covered(build, build->exists[e], bits);
    const Goal **goals = shape->class_goals + (shape->n_classes << shape->n_exists);
    goals[0] = NULL;
    if (possible) IMP_TRY(subset_goals(build, &literals, covers, goals));
    if (goals[0] != NULL) {
        IMP_TRY(goal_satisfiable(build->set, build->set->entries[goals[0]->id], &possible));
        *label = possible ? (uint32_t)shape->n_classes + 1 : 0;
    }
    draft->class_bits[shape->n_classes] = bits;
    draft->labels[shape->n_classes++] = *label;
    return IMP_OK;
}

static uint32_t label_discover(const void *context, uint64_t bits)
{
    ObjectBuild *build = *(ObjectBuild *const *)context;
    for (size_t i = 0; i < build->shape->n_classes; i++) {
        if (build->draft->class_bits[i] == bits) return build->draft->labels[i];
    }
    uint32_t label = 0;
    if (build->status == IMP_OK) build->status = make_class(build, bits, &label);
    return label;
}

static ImpStatus build_free_keys(ObjectBuild *build)
{
    ObjectShape *shape = build->shape;
    ObjectDraft *draft = build->draft;
    IMP_TRY(collect_parts(build));
    if (draft->n_parts == 0) {
        uint32_t label = 0;
        IMP_TRY(make_class(build, 0, &label));
        if (label == 0) shape->n_classes = 0;
        return IMP_OK;
    }
    IMP_TRY(dfa_product(build->set->arena, draft->parts, draft->n_parts, label_discover, &build, MAX_KEY_STATES,
                        &shape->free_keys));
    IMP_TRY(build->status);
    if (shape->free_keys->start == DFA_DEAD) shape->n_classes = 0;
    return IMP_OK;
}

static uint32_t label_satisfiable(const void *context, uint64_t bits)
{
    const ObjectShape *shape = context;
    for (size_t i = 0; i < shape->n_classes; i++) {
        if (shape->draft->class_bits[i] != bits) continue;
        const Goal *goal = shape->class_goals[i << shape->n_exists];
        return goal != NULL && goal->satisfiable ? shape->draft->labels[i] : 0;
    }
    return 0;
}

ImpStatus object_free_keys(GoalSet *set, ObjectShape *shape)
{
    bool lost = false;
    for (size_t i = 0; i < shape->n_classes; i++) {
        const Goal *goal = shape->class_goals[i << shape->n_exists];
        lost = lost || (shape->draft->labels[i] != 0 && (goal == NULL || !goal->satisfiable));
    }
    if (!lost) return IMP_OK;
    if (shape->draft->n_parts == 0) {
        shape->n_classes = 0;
        return IMP_OK;
    }
    IMP_TRY(dfa_product(set->arena, shape->draft->parts, shape->draft->n_parts, label_satisfiable, shape, MAX_KEY_STATES,
                        &shape->free_keys));
    if (shape->free_keys->start == DFA_DEAD) shape->n_classes = 0;
    return IMP_OK;
}

/*
 * EXISTS demands: kept when free keys can satisfy them, endlessly many or more than anybody writes, otherwise turned into a
 * choice of names.
 */
enum { MANY_KEYS = 1000 };

static bool satisfied_by_required(const ObjectBuild *build, const Atom *atom)
{
    const Literal flipped = {atom->literal.node, !atom->literal.negated};
    if (!is_never(build->set, flipped)) return false;
    for (const AtomCell *cell = build->conjunction->lists[ATOM_REQUIRED]; cell != NULL; cell = cell->next) {
        if (exists_covers(atom, cell->atom.name, cell->atom.name_length)) return true;
    }
    return false;
}

static ImpStatus free_keys_satisfy(ObjectBuild *build, size_t e, bool *out)
{
    const ObjectShape *shape = build->shape;
    *out = false;
    for (size_t i = 0; i < shape->n_classes && !*out; i++) {
        const Goal *goal = shape->class_goals[(i << shape->n_exists) + ((size_t)1 << e)];
        if (goal != NULL) IMP_TRY(goal_satisfiable(build->set, build->set->entries[goal->id], out));
    }
    if (*out && shape->free_keys != NULL && shape->free_keys->completions[shape->free_keys->start] < MANY_KEYS)
        return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: its negation meets a propertyNames of few names", build->exists[e]->place);
    return IMP_OK;
}

/* "Some key …" as one alternative for each name that can be it. */
static ImpStatus choose_name(ObjectBuild *build, const Atom *exists, Choice *out)
{
    const ObjectShape *shape = build->shape;
    AtomList *lists = arena_alloc(build->set->scratch, shape->n_names, sizeof *lists);
    if (lists == NULL) return imp_fail_memory(shape->n_names * sizeof *lists);
    *out = (Choice){lists, 0, false};
    for (size_t i = 0; i < shape->n_names; i++) {
        const ObjectName *name = &shape->names[i];
        if (name->goals[0] == NULL || !exists_covers(exists, name->text, name->length)) continue;
        Atom atom = {.kind = ATOM_REQUIRED, .name = name->text, .name_length = name->length, .place = exists->place,
                     .literal = {schema_boolean(build->set->document, false), false}};
        IMP_TRY(atom_list_add(build->set->scratch, &lists[out->count], atom));
        atom.kind = ATOM_PROPERTY;
        atom.literal = exists->literal;
        IMP_TRY(atom_list_add(build->set->scratch, &lists[out->count++], atom));
    }
    return IMP_OK;
}

/* Builds the goal again without the EXISTS demand that became a choice. */
static ImpStatus expand_choice(ObjectBuild *build, const Atom *exists, GoalEntry *entry)
{
    Conjunction again = *build->conjunction;
    Choice *choice = arena_alloc(build->set->scratch, 1, sizeof *choice);
    if (choice == NULL) return imp_fail_memory(sizeof *choice);
    IMP_TRY(choose_name(build, exists, choice));
    if (choice->count == 0) return IMP_OK;
    again.types = TYPE_OBJECT;
    again.lists[ATOM_EXISTS] = NULL;
    for (const AtomCell *cell = build->conjunction->lists[ATOM_EXISTS]; cell != NULL; cell = cell->next) {
        if (&cell->atom != exists) IMP_TRY(conjunction_keep(build->set->scratch, &again, &cell->atom));
    }
    const Atom atom = {.kind = ATOM_CHOICE, .as.choice = choice, .place = exists->place};
    IMP_TRY(conjunction_keep(build->set->scratch, &again, &atom));
    return goal_expand(build->set, &again, entry, 300);
}

static ImpStatus gather_exists(ObjectBuild *build)
{
    for (const AtomCell *cell = build->conjunction->lists[ATOM_EXISTS]; cell != NULL; cell = cell->next) {
        if (satisfied_by_required(build, &cell->atom)) continue;
        if (build->shape->n_exists == SHAPE_MAX_EXISTS)
            return imp_fail(IMP_ERR_LIMIT, "schema, %s: too entangled with its negation", cell->atom.place);
        build->exists[build->shape->n_exists++] = &cell->atom;
    }
    return IMP_OK;
}

static ImpStatus gather_names_goal(ObjectBuild *build)
{
    LiteralList literals = {0};
    const char *place = "";
    for (const AtomCell *cell = build->conjunction->lists[ATOM_NAMES]; cell != NULL; cell = cell->next) {
        IMP_TRY(literal_list_add(build->set, &literals, cell->atom.literal));
        place = cell->atom.place;
    }
    if (literals.count == 0) return IMP_OK;
    IMP_TRY(goal_get(build->set, &literals, &build->names_goal));
    IMP_TRY(goal_build(build->set, build->names_goal));
    if (build->names_goal->stage == GOAL_BUILT) return IMP_OK;
    return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: refers to the object that it belongs to", place);
}

static ImpStatus build_dependents(ObjectBuild *build)
{
    ObjectShape *shape = build->shape;
    size_t n = 0;
    size_t n_needs = 0;
    for (const AtomCell *cell = build->conjunction->lists[ATOM_DEPENDENT]; cell != NULL; cell = cell->next) {
        n_needs += cell->atom.as.names->count;
        n++;
    }
    if (n_needs > 0 && n > MAX_DEPENDENT_WORK / n_needs)
        return imp_fail(IMP_ERR_LIMIT, "schema: %zu properties that depend on others are too many", n);
    shape->dependents = arena_alloc(build->set->arena, n, sizeof *shape->dependents);
    if (shape->dependents == NULL) return imp_fail_memory(n * sizeof *shape->dependents);
    for (const AtomCell *cell = build->conjunction->lists[ATOM_DEPENDENT]; cell != NULL; cell = cell->next) {
        shape->dependents[shape->n_dependents++] = (struct ObjectDependent){
            .text = cell->atom.name,
            .length = cell->atom.name_length,
            .n_needs = cell->atom.as.names->count,
            .need_texts = cell->atom.as.names->texts,
            .need_lengths = cell->atom.as.names->lengths,
        };
    }
    return IMP_OK;
}

ImpStatus build_object(GoalSet *set, const Conjunction *conjunction, GoalEntry *entry)
{
    ObjectBuild build = {.set = set, .conjunction = conjunction};
    bool possible = false;
    build.shape = arena_alloc(set->arena, 1, sizeof *build.shape);
    build.draft = arena_alloc(set->scratch, 1, sizeof *build.draft);
    if (build.shape == NULL || build.draft == NULL) return imp_fail_memory(sizeof *build.draft);
    build.shape->draft = build.draft;
    build.shape->min_properties = conjunction->min_properties;
    build.shape->max_properties = conjunction->max_properties;
    IMP_TRY(object_contradicts(set, conjunction, &possible));
    if (possible) return IMP_OK;
    IMP_TRY(gather_exists(&build));
    IMP_TRY(gather_names_goal(&build));
    IMP_TRY(collect_names(&build));
    IMP_TRY(build_names(&build));
    IMP_TRY(required_possible(&build, &possible));
    if (!possible) return IMP_OK;
    IMP_TRY(build_free_keys(&build));
    for (size_t e = 0; e < build.shape->n_exists; e++) {
        IMP_TRY(free_keys_satisfy(&build, e, &possible));
        if (!possible) return expand_choice(&build, build.exists[e], entry);
        if (conjunction->max_properties != SHAPE_UNBOUNDED)
            return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s: its negation meets maxProperties", build.exists[e]->place);
    }
    IMP_TRY(build_dependents(&build));
    return push_object(set, entry, build.shape);
}
