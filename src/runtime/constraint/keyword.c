/*
 * keyword.c - the keywords of JSON Schema, a table of them, each turned into atoms.
 *
 * A keyword that its draft does not know is an annotation there and passes, as the drafts say; every keyword that the draft
 * does know is either in the table or refused by name. Keywords that are read together (properties with additionalProperties,
 * if with then) are handled by the one that comes first in the table.
 */
#include "runtime/constraint/conjunction.h"
#include "runtime/constraint/expression.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of all patterns of a schema: a second of work. Of the alternatives of a oneOf with a discriminator: those set against each other. */
enum { MAX_PATTERN_STATES = 1000000, MAX_WORKED_OUT = 8 };

typedef struct KnownPattern {
    const char *text;
    size_t length;
    ExpressionMode mode;
    const Dfa *dfa;
} KnownPattern;

/* One call of a handler: the keyword `name` with `value` in the schema of `node`. */
typedef struct KeywordUse {
    KeywordContext *context;
    const SchemaNode *node;
    const char *name;
    const JsonValue *value;
    AtomList *out;
} KeywordUse;

typedef ImpStatus KeywordHandler(const KeywordUse *use);

static ImpStatus bad_value(const KeywordUse *use, const char *expected)
{
    return imp_fail(IMP_ERR_FORMAT, "schema, %s/%s: %s expected", use->node->pointer, use->name, expected);
}

static ImpStatus unsupported(const KeywordUse *use, const char *why)
{
    return imp_fail(IMP_ERR_UNSUPPORTED, "schema, %s/%s: %s", use->node->pointer, use->name, why);
}

static ImpStatus emit(const KeywordUse *use, Atom atom)
{
    const size_t size = strlen(use->node->pointer) + strlen(use->name) + 2;
    char *place = arena_alloc(use->context->scratch, size, 1);
    if (place == NULL) return imp_fail_memory(size);
    (void)snprintf(place, size, "%s/%s", use->node->pointer, use->name);
    atom.place = place;
    return atom_list_add(use->context->scratch, use->out, atom);
}

static void *allocate(const KeywordUse *use, size_t count, size_t size)
{
    return arena_alloc(use->context->scratch, count, size);
}

static Literal literal_of(const KeywordUse *use, const JsonValue *value)
{
    return (Literal){schema_find(use->context->document, value), false};
}

static Literal never(const KeywordUse *use) { return (Literal){schema_boolean(use->context->document, false), false}; }

static const JsonValue *sibling(const KeywordUse *use, const char *name)
{
    return json_value_get(use->node->value, name);
}

static bool draft_has(const KeywordUse *use, SchemaDraft first)
{
    return schema_draft_is_open(use->context->document) || schema_draft(use->context->document) >= first;
}

/* A non-negative integer, clamped to what fits. */
static ImpStatus read_count(const KeywordUse *use, const JsonValue *value, uint64_t *out)
{
    if (value->type != JSON_VALUE_NUMBER || value->as.number.negative || !decimal_is_integer(value->as.number))
        return bad_value(use, "a non-negative integer");
    const Decimal number = decimal_normalize(value->as.number);
    *out = UINT64_MAX / 2;
    if (number.exponent + decimal_digit_count(number.digits) <= 18)
        *out = (uint64_t)(number.digits * decimal_power(number.exponent));
    return IMP_OK;
}

static ImpStatus compile_pattern(const KeywordUse *use, const char *text, size_t length, ExpressionMode mode, const Dfa **out)
{
    KeywordContext *context = use->context;
    for (size_t i = 0; i < context->n_patterns; i++) {
        const KnownPattern *known = &context->patterns[i];
        if (known->length != length || known->mode != mode || memcmp(known->text, text, length) != 0) continue;
        *out = known->dfa;
        return IMP_OK;
    }
    if (context->n_patterns == context->pattern_capacity) {
        const size_t capacity = context->pattern_capacity * 2 + 16;
        KnownPattern *grown = realloc(context->patterns, capacity * sizeof *grown);
        if (grown == NULL) return imp_fail_memory(capacity * sizeof *grown);
        context->patterns = grown;
        context->pattern_capacity = capacity;
    }
    const ImpStatus status = expression_compile(context->arena, text, length, mode, out);
    if (status != IMP_OK) return imp_fail_prefix(status, "schema, %s/%s", use->node->pointer, use->name);
    context->n_pattern_states += (*out)->n_states;
    if (context->n_pattern_states > MAX_PATTERN_STATES)
        return imp_fail(IMP_ERR_LIMIT, "schema, %s/%s: the patterns together need more than %d states", use->node->pointer, use->name,
                        MAX_PATTERN_STATES);
    context->patterns[context->n_patterns++] = (KnownPattern){text, length, mode, *out};
    return IMP_OK;
}

void keyword_context_free(KeywordContext *context) { free(context->patterns); }

/* type */
static ImpStatus add_type(const KeywordUse *use, const JsonValue *name, Atom *atom)
{
    static const struct {
        const char *name;
        uint8_t types;
    } names[] = {{"null", TYPE_NULL},     {"boolean", TYPE_FALSE | TYPE_TRUE}, {"number", TYPE_NUMBER},
                 {"integer", TYPE_NUMBER}, {"string", TYPE_STRING},            {"array", TYPE_ARRAY},
                 {"object", TYPE_OBJECT}};
    for (size_t i = 0; name->type == JSON_VALUE_STRING && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, name->as.string) != 0) continue;
        const bool integer = strcmp(name->as.string, "integer") == 0;
        const bool had_number = (atom->types & TYPE_NUMBER) != 0;
        const bool strict = schema_draft(use->context->document) == SCHEMA_DRAFT_4;
        if (integer && !had_number) atom->form = strict ? NUMBER_INTEGER_TEXT : NUMBER_INTEGRAL;
        if (!integer && names[i].types == TYPE_NUMBER) atom->form = NUMBER_ANY;
        atom->types |= names[i].types;
        return IMP_OK;
    }
    return bad_value(use, "the name of a JSON type");
}

static ImpStatus keyword_type(const KeywordUse *use)
{
    Atom atom = {.kind = ATOM_TYPES};
    if (use->value->type != JSON_VALUE_ARRAY) {
        IMP_TRY(add_type(use, use->value, &atom));
        return emit(use, atom);
    }
    for (size_t i = 0; i < use->value->count; i++) IMP_TRY(add_type(use, use->value->as.items[i], &atom));
    return emit(use, atom);
}

/* The atoms of "equal to this array or object". */
static ImpStatus const_array(const KeywordUse *use, const JsonValue *value, const char *place, AtomList *out)
{
    Arena *scratch = use->context->scratch;
    const uint64_t n = value->count;
    IMP_TRY(atom_list_add(scratch, out, (Atom){.kind = ATOM_TYPES, .types = TYPE_ARRAY, .place = place}));
    IMP_TRY(atom_list_add(scratch, out, (Atom){.kind = ATOM_ITEM_COUNT, .min = n, .max = n, .place = place}));
    for (size_t i = 0; i < n; i++) {
        Atom item = {.kind = ATOM_ITEM, .min = i, .place = place};
        IMP_TRY(schema_const(use->context->document, value->as.items[i], place, &item.literal.node));
        IMP_TRY(atom_list_add(scratch, out, item));
    }
    return IMP_OK;
}

static ImpStatus const_object(const KeywordUse *use, const JsonValue *value, const char *place, AtomList *out)
{
    Arena *scratch = use->context->scratch;
    const uint64_t n = value->count;
    IMP_TRY(atom_list_add(scratch, out, (Atom){.kind = ATOM_TYPES, .types = TYPE_OBJECT, .place = place}));
    IMP_TRY(atom_list_add(scratch, out, (Atom){.kind = ATOM_PROPERTY_COUNT, .min = n, .max = n, .place = place}));
    for (size_t i = 0; i < n; i++) {
        const JsonMember *member = &value->as.members[i];
        Atom atom = {.kind = ATOM_REQUIRED,
                     .name = member->key,
                     .name_length = member->key_length,
                     .literal = never(use),
                     .place = place};
        IMP_TRY(atom_list_add(scratch, out, atom));
        atom.kind = ATOM_PROPERTY;
        atom.literal.negated = false;
        IMP_TRY(schema_const(use->context->document, member->value, place, &atom.literal.node));
        IMP_TRY(atom_list_add(scratch, out, atom));
    }
    return IMP_OK;
}

/* Equal to one of values[n]: scalars in one atom, each array and object an alternative of its own. */
static ImpStatus one_of_values(const KeywordUse *use, const JsonValue *const *values, size_t n, const char *place,
                               AtomList *out)
{
    const JsonValue **scalars = allocate(use, n, sizeof(JsonValue *));
    AtomList *alternatives = allocate(use, n + 1, sizeof *alternatives);
    Choice *choice = allocate(use, 1, sizeof *choice);
    if (scalars == NULL || alternatives == NULL || choice == NULL) return imp_fail_memory(n * sizeof *alternatives);
    size_t n_scalars = 0;
    for (size_t i = 0; i < n; i++) {
        if (values[i]->type < JSON_VALUE_ARRAY) {
            scalars[n_scalars++] = values[i];
            continue;
        }
        AtomList *alternative = &alternatives[choice->count++];
        if (values[i]->type == JSON_VALUE_ARRAY) IMP_TRY(const_array(use, values[i], place, alternative));
        else IMP_TRY(const_object(use, values[i], place, alternative));
    }
    const Atom scalar = {.kind = ATOM_SCALARS, .as.values = scalars, .n_values = n_scalars, .place = place};
    if (choice->count == 0) return atom_list_add(use->context->scratch, out, scalar);
    if (n_scalars > 0) IMP_TRY(atom_list_add(use->context->scratch, &alternatives[choice->count++], scalar));
    choice->alternatives = alternatives;
    return atom_list_add(use->context->scratch, out, (Atom){.kind = ATOM_CHOICE, .as.choice = choice, .place = place});
}

ImpStatus keyword_const_atoms(KeywordContext *context, const JsonValue *value, const char *place, AtomList *out)
{
    const KeywordUse use = {.context = context, .value = value};
    return one_of_values(&use, &value, 1, place, out);
}

static ImpStatus keyword_enum(const KeywordUse *use)
{
    const bool list = strcmp(use->name, "enum") == 0;
    if (list && use->value->type != JSON_VALUE_ARRAY) return bad_value(use, "an array");
    const JsonValue *const *values = list ? use->value->as.items : &use->value;
    return one_of_values(use, values, list ? use->value->count : 1, use->node->pointer, use->out);
}

/* minimum, maximum, and their exclusive forms: booleans in draft 4, numbers later. */
static ImpStatus keyword_bound(const KeywordUse *use)
{
    const bool exclusive = strncmp(use->name, "exclusive", 9) == 0;
    const bool upper = strstr(use->name, "aximum") != NULL;
    const bool boolean = use->value->type == JSON_VALUE_TRUE || use->value->type == JSON_VALUE_FALSE;
    if (exclusive && boolean) return IMP_OK; /* read with minimum or maximum */
    if (use->value->type != JSON_VALUE_NUMBER) return bad_value(use, "a number");
    Atom atom = {.kind = ATOM_BOUND, .number = use->value->as.number, .upper = upper, .exclusive = exclusive};
    const JsonValue *flag = exclusive ? NULL : sibling(use, upper ? "exclusiveMaximum" : "exclusiveMinimum");
    if (flag != NULL && flag->type == JSON_VALUE_TRUE) atom.exclusive = true;
    return emit(use, atom);
}

static ImpStatus keyword_multiple_of(const KeywordUse *use)
{
    if (use->value->type != JSON_VALUE_NUMBER || use->value->as.number.negative || use->value->as.number.digits == 0)
        return bad_value(use, "a number above 0");
    const Decimal step = decimal_normalize(use->value->as.number);
    if (step.exponent < -15 || step.exponent > 15 || decimal_digit_count(step.digits) > 18)
        return unsupported(use, "a step with more than 15 decimals or 18 digits");
    return emit(use, (Atom){.kind = ATOM_MULTIPLE, .number = step, .number_is_double = !use->value->integer_text});
}

/* minLength maxLength minItems maxItems minProperties maxProperties */
static ImpStatus keyword_count(const KeywordUse *use)
{
    const char *what = use->name + 3;
    const AtomKind kind = what[0] == 'L' ? ATOM_LENGTH : what[0] == 'I' ? ATOM_ITEM_COUNT : ATOM_PROPERTY_COUNT;
    uint64_t count = 0;
    IMP_TRY(read_count(use, use->value, &count));
    const bool min = use->name[1] == 'i';
    return emit(use, (Atom){.kind = kind, .min = min ? count : 0, .max = min ? SHAPE_UNBOUNDED : count});
}

static ImpStatus keyword_pattern(const KeywordUse *use)
{
    if (use->value->type != JSON_VALUE_STRING) return bad_value(use, "a string");
    Atom atom = {.kind = ATOM_PATTERN};
    IMP_TRY(compile_pattern(use, use->value->as.string, use->value->count, EXPRESSION_SEARCH, &atom.as.dfa));
    return emit(use, atom);
}

static ImpStatus keyword_format(const KeywordUse *use)
{
    if (use->value->type != JSON_VALUE_STRING) return bad_value(use, "a string");
    const char *pattern = format_pattern(use->value->as.string, schema_draft(use->context->document));
    if (pattern == NULL) return IMP_OK;
    Atom atom = {.kind = ATOM_PATTERN};
    IMP_TRY(compile_pattern(use, pattern, strlen(pattern), EXPRESSION_WHOLE, &atom.as.dfa));
    IMP_TRY(emit(use, atom));
    if (strstr(use->value->as.string, "hostname") == NULL) return IMP_OK;
    return emit(use, (Atom){.kind = ATOM_LENGTH, .max = 253});
}

/* Strings of an array as a list of names. */
static ImpStatus read_names(const KeywordUse *use, const JsonValue *value, NameList *out)
{
    if (value->type != JSON_VALUE_ARRAY) return bad_value(use, "an array of names");
    const char **texts = allocate(use, value->count, sizeof *texts);
    size_t *lengths = allocate(use, value->count, sizeof *lengths);
    if (texts == NULL || lengths == NULL) return imp_fail_memory(value->count * sizeof *texts);
    for (size_t i = 0; i < value->count; i++) {
        if (value->as.items[i]->type != JSON_VALUE_STRING) return bad_value(use, "an array of names");
        texts[i] = value->as.items[i]->as.string;
        lengths[i] = value->as.items[i]->count;
    }
    *out = (NameList){texts, lengths, value->count};
    return IMP_OK;
}

static ImpStatus keyword_required(const KeywordUse *use)
{
    NameList names = {0};
    IMP_TRY(read_names(use, use->value, &names));
    for (size_t i = 0; i < names.count; i++) {
        IMP_TRY(emit(use, (Atom){.kind = ATOM_REQUIRED,
                                 .name = names.texts[i],
                                 .name_length = names.lengths[i],
                                 .literal = never(use)}));
    }
    return IMP_OK;
}

static int compare_keys(const void *left, const void *right)
{
    const JsonMember *a = *(const JsonMember *const *)left;
    const JsonMember *b = *(const JsonMember *const *)right;
    return name_compare(a->key, a->key_length, b->key, b->key_length);
}

static ImpStatus read_properties(const KeywordUse *use, const JsonValue *properties, ObjectGroup *group)
{
    const JsonMember **members = allocate(use, properties->count, sizeof(JsonMember *));
    const char **texts = allocate(use, properties->count, sizeof *texts);
    size_t *lengths = allocate(use, properties->count, sizeof *lengths);
    Literal *literals = allocate(use, properties->count, sizeof *literals);
    if (members == NULL || texts == NULL || lengths == NULL || literals == NULL) return imp_fail_memory(properties->count * 32);
    for (size_t i = 0; i < properties->count; i++) members[i] = &properties->as.members[i];
    qsort(members, properties->count, sizeof(JsonMember *), compare_keys);
    for (size_t i = 0; i < properties->count; i++) {
        texts[i] = members[i]->key;
        lengths[i] = members[i]->key_length;
        literals[i] = literal_of(use, members[i]->value);
    }
    group->names = (NameList){texts, lengths, properties->count};
    group->properties = literals;
    return IMP_OK;
}

static ImpStatus read_patterns(const KeywordUse *use, const JsonValue *patterns, ObjectGroup *group)
{
    const Dfa **dfas = allocate(use, patterns->count, sizeof *dfas);
    Literal *literals = allocate(use, patterns->count, sizeof *literals);
    if (dfas == NULL || literals == NULL) return imp_fail_memory(patterns->count * sizeof *literals);
    for (size_t i = 0; i < patterns->count; i++) {
        const JsonMember *member = &patterns->as.members[i];
        IMP_TRY(compile_pattern(use, member->key, member->key_length, EXPRESSION_SEARCH, &dfas[i]));
        literals[i] = literal_of(use, member->value);
    }
    group->n_patterns = patterns->count;
    group->patterns = dfas;
    group->pattern_literals = literals;
    return IMP_OK;
}

/* properties, patternProperties and additionalProperties, whichever of them comes first in the table and is there. */
static ImpStatus keyword_properties(const KeywordUse *use)
{
    const JsonValue *properties = sibling(use, "properties");
    const JsonValue *patterns = sibling(use, "patternProperties");
    const JsonValue *additional = sibling(use, "additionalProperties");
    const JsonValue *first = properties != NULL ? properties : patterns != NULL ? patterns : additional;
    if (first != use->value) return IMP_OK;
    ObjectGroup *group = allocate(use, 1, sizeof *group);
    if (group == NULL) return imp_fail_memory(sizeof *group);
    if (properties != NULL) IMP_TRY(read_properties(use, properties, group));
    if (patterns != NULL) IMP_TRY(read_patterns(use, patterns, group));
    group->has_additional = additional != NULL;
    if (additional != NULL) group->additional = literal_of(use, additional);
    return emit(use, (Atom){.kind = ATOM_OBJECT_GROUP, .as.object_group = group});
}

static ImpStatus keyword_property_names(const KeywordUse *use)
{
    return emit(use, (Atom){.kind = ATOM_NAMES, .literal = literal_of(use, use->value)});
}

static ImpStatus add_dependent_names(const KeywordUse *use, const JsonMember *member)
{
    NameList *names = allocate(use, 1, sizeof *names);
    if (names == NULL) return imp_fail_memory(sizeof *names);
    IMP_TRY(read_names(use, member->value, names));
    return emit(use, (Atom){.kind = ATOM_DEPENDENT,
                            .name = member->key,
                            .name_length = member->key_length,
                            .as.names = names,
                            .literal = never(use)});
}

/* A choice of two alternatives, written as lists of up to two atoms. */
static ImpStatus emit_choice(const KeywordUse *use, const Atom first[2], const Atom second[2])
{
    AtomList *alternatives = allocate(use, 2, sizeof *alternatives);
    Choice *choice = allocate(use, 1, sizeof *choice);
    if (alternatives == NULL || choice == NULL) return imp_fail_memory(sizeof *choice);
    for (size_t i = 0; i < 4; i++) {
        Atom atom = i < 2 ? first[i] : second[i - 2];
        atom.place = use->node->pointer;
        if (atom.kind == ATOM_KINDS) continue;
        IMP_TRY(atom_list_add(use->context->scratch, &alternatives[i / 2], atom));
    }
    *choice = (Choice){alternatives, 2, false};
    return emit(use, (Atom){.kind = ATOM_CHOICE, .as.choice = choice});
}

/* The property is absent, or it is present and the schema holds. */
static ImpStatus add_dependent_schema(const KeywordUse *use, const JsonMember *member)
{
    Atom absent = {
        .kind = ATOM_PROPERTY, .name = member->key, .name_length = member->key_length, .literal = never(use)};
    Atom present = absent;
    present.kind = ATOM_REQUIRED;
    const Atom none = {.kind = ATOM_KINDS};
    const Atom schema = {.kind = ATOM_LITERAL, .literal = literal_of(use, member->value)};
    return emit_choice(use, (const Atom[2]){absent, none}, (const Atom[2]){present, schema});
}

/* dependentRequired, dependentSchemas, and the older dependencies, which is either. */
static ImpStatus keyword_dependent(const KeywordUse *use)
{
    if (use->value->type != JSON_VALUE_OBJECT) return bad_value(use, "an object");
    for (size_t i = 0; i < use->value->count; i++) {
        const JsonMember *member = &use->value->as.members[i];
        if (member->value->type == JSON_VALUE_ARRAY) IMP_TRY(add_dependent_names(use, member));
        else if (schema_find(use->context->document, member->value) == NULL) return bad_value(use, "names or a schema");
        else IMP_TRY(add_dependent_schema(use, member));
    }
    return IMP_OK;
}

static ImpStatus read_prefix(const KeywordUse *use, const JsonValue *list, ItemGroup *group)
{
    Literal *literals = allocate(use, list->count, sizeof *literals);
    if (literals == NULL) return imp_fail_memory(list->count * sizeof *literals);
    for (size_t i = 0; i < list->count; i++) literals[i] = literal_of(use, list->as.items[i]);
    group->prefix = literals;
    group->n_prefix = list->count;
    return IMP_OK;
}

/* prefixItems with items, or the older items (an array) with additionalItems. */
static ImpStatus keyword_items(const KeywordUse *use)
{
    const JsonValue *prefix = draft_has(use, SCHEMA_DRAFT_2020) ? sibling(use, "prefixItems") : NULL;
    const JsonValue *rest = sibling(use, "items");
    if (prefix != NULL && prefix != use->value) return IMP_OK;
    if (prefix == NULL && rest != use->value) return IMP_OK;
    if (prefix == NULL && rest->type == JSON_VALUE_ARRAY) {
        prefix = rest;
        rest = sibling(use, "additionalItems");
    }
    ItemGroup *group = allocate(use, 1, sizeof *group);
    if (group == NULL) return imp_fail_memory(sizeof *group);
    if (prefix != NULL) IMP_TRY(read_prefix(use, prefix, group));
    group->has_rest = rest != NULL;
    if (rest != NULL && rest->type == JSON_VALUE_ARRAY) return bad_value(use, "prefixItems without an array of items");
    if (rest != NULL) group->rest = literal_of(use, rest);
    return emit(use, (Atom){.kind = ATOM_ITEM_GROUP, .as.item_group = group});
}

static ImpStatus keyword_contains(const KeywordUse *use)
{
    Atom atom = {.kind = ATOM_CONTAINS, .min = 1, .max = SHAPE_UNBOUNDED, .literal = literal_of(use, use->value)};
    const JsonValue *min = draft_has(use, SCHEMA_DRAFT_2019) ? sibling(use, "minContains") : NULL;
    const JsonValue *max = draft_has(use, SCHEMA_DRAFT_2019) ? sibling(use, "maxContains") : NULL;
    if (min != NULL) IMP_TRY(read_count(use, min, &atom.min));
    if (max != NULL) IMP_TRY(read_count(use, max, &atom.max));
    return emit(use, atom);
}

static ImpStatus keyword_unique_items(const KeywordUse *use)
{
    if (use->value->type == JSON_VALUE_FALSE) return IMP_OK;
    if (use->value->type != JSON_VALUE_TRUE) return bad_value(use, "true or false");
    return emit(use, (Atom){.kind = ATOM_UNIQUE});
}

static ImpStatus keyword_all_of(const KeywordUse *use)
{
    for (size_t i = 0; i < use->value->count; i++)
        IMP_TRY(emit(use, (Atom){.kind = ATOM_LITERAL, .literal = literal_of(use, use->value->as.items[i])}));
    return IMP_OK;
}

/* The alternative's property `tag` is one of listed values. */
static bool names_its_tag(const KeywordUse *use, const JsonValue *alternative, const char *tag)
{
    const SchemaNode *node = schema_find(use->context->document, alternative);
    while (node->only_reference) node = node->reference;
    const JsonValue *properties = json_value_get(node->value, "properties");
    const JsonValue *property = properties == NULL ? NULL : json_value_get(properties, tag);
    return property != NULL && (json_value_get(property, "const") != NULL || json_value_get(property, "enum") != NULL);
}

/* OpenAPI's discriminator beside oneOf names a property that tells the alternatives apart and has to be there. Pydantic leaves it out of
 * `required` where it has a default; what lacks it has to be set against every other alternative. Where that becomes too much, the
 * property is demanded as OpenAPI says. */
static ImpStatus demand_discriminator(const KeywordUse *use)
{
    const JsonValue *discriminator = sibling(use, "discriminator");
    const JsonValue *tag = discriminator == NULL ? NULL : json_value_get(discriminator, "propertyName");
    if (tag == NULL || tag->type != JSON_VALUE_STRING) return IMP_OK;
    for (size_t i = 0; i < use->value->count; i++) {
        if (!names_its_tag(use, use->value->as.items[i], tag->as.string)) return IMP_OK;
    }
    use->context->met_discriminator = true;
    if (!use->context->demand_discriminators && use->value->count <= MAX_WORKED_OUT) return IMP_OK;
    return emit(use, (Atom){.kind = ATOM_REQUIRED, .name = tag->as.string, .name_length = tag->count, .literal = never(use)});
}

/* anyOf, and oneOf with every other alternative negated; which negations are needless is found out in goal.c. */
static ImpStatus keyword_any_of(const KeywordUse *use)
{
    const size_t n = use->value->count;
    const bool exclusive = strcmp(use->name, "oneOf") == 0;
    AtomList *alternatives = allocate(use, n, sizeof *alternatives);
    Choice *choice = allocate(use, 1, sizeof *choice);
    if (alternatives == NULL || choice == NULL) return imp_fail_memory(n * sizeof *alternatives);
    if (exclusive) IMP_TRY(demand_discriminator(use));
    for (size_t i = 0; i < n; i++) {
        Atom atom = {.kind = ATOM_LITERAL, .literal = literal_of(use, use->value->as.items[i]),
                     .place = use->node->pointer};
        IMP_TRY(atom_list_add(use->context->scratch, &alternatives[i], atom));
        for (size_t k = 0; exclusive && k < n; k++) {
            atom.literal = (Literal){schema_find(use->context->document, use->value->as.items[k]), true};
            if (k != i) IMP_TRY(atom_list_add(use->context->scratch, &alternatives[i], atom));
        }
    }
    *choice = (Choice){alternatives, n, !exclusive};
    return emit(use, (Atom){.kind = ATOM_CHOICE, .as.choice = choice});
}

static ImpStatus keyword_not(const KeywordUse *use)
{
    Literal literal = literal_of(use, use->value);
    literal.negated = true;
    return emit(use, (Atom){.kind = ATOM_LITERAL, .literal = literal});
}

static ImpStatus keyword_if(const KeywordUse *use)
{
    const JsonValue *then_value = sibling(use, "then");
    const JsonValue *else_value = sibling(use, "else");
    if (then_value == NULL && else_value == NULL && !schema_has_unevaluated(use->context->document)) return IMP_OK;
    const Literal condition = literal_of(use, use->value);
    const Atom none = {.kind = ATOM_KINDS};
    const Atom holds = {.kind = ATOM_LITERAL, .literal = condition};
    const Atom fails = {.kind = ATOM_LITERAL, .literal = {condition.node, true}};
    Atom then_atom = none;
    Atom else_atom = none;
    if (then_value != NULL) then_atom = (Atom){.kind = ATOM_LITERAL, .literal = literal_of(use, then_value)};
    if (else_value != NULL) else_atom = (Atom){.kind = ATOM_LITERAL, .literal = literal_of(use, else_value)};
    return emit_choice(use, (const Atom[2]){holds, then_atom}, (const Atom[2]){fails, else_atom});
}

static ImpStatus keyword_unevaluated(const KeywordUse *use)
{
    const bool items = strcmp(use->name, "unevaluatedItems") == 0;
    return emit(use, (Atom){.kind = items ? ATOM_UNEVALUATED_ITEMS : ATOM_UNEVALUATED_PROPERTIES,
                            .literal = literal_of(use, use->value)});
}

static ImpStatus keyword_obsolete(const KeywordUse *use) { return unsupported(use, "a keyword of draft 3"); }

typedef struct Keyword {
    const char *name;
    SchemaDraft first; /* the draft that introduced it */
    KeywordHandler *handler;
} Keyword;

static const Keyword keywords[] = {
    {"type", SCHEMA_DRAFT_4, keyword_type},
    {"enum", SCHEMA_DRAFT_4, keyword_enum},
    {"const", SCHEMA_DRAFT_6, keyword_enum},
    {"minimum", SCHEMA_DRAFT_4, keyword_bound},
    {"maximum", SCHEMA_DRAFT_4, keyword_bound},
    {"exclusiveMinimum", SCHEMA_DRAFT_4, keyword_bound},
    {"exclusiveMaximum", SCHEMA_DRAFT_4, keyword_bound},
    {"multipleOf", SCHEMA_DRAFT_4, keyword_multiple_of},
    {"minLength", SCHEMA_DRAFT_4, keyword_count},
    {"maxLength", SCHEMA_DRAFT_4, keyword_count},
    {"pattern", SCHEMA_DRAFT_4, keyword_pattern},
    {"format", SCHEMA_DRAFT_4, keyword_format},
    {"minItems", SCHEMA_DRAFT_4, keyword_count},
    {"maxItems", SCHEMA_DRAFT_4, keyword_count},
    {"uniqueItems", SCHEMA_DRAFT_4, keyword_unique_items},
    {"prefixItems", SCHEMA_DRAFT_2020, keyword_items},
    {"items", SCHEMA_DRAFT_4, keyword_items},
    {"contains", SCHEMA_DRAFT_6, keyword_contains},
    {"minProperties", SCHEMA_DRAFT_4, keyword_count},
    {"maxProperties", SCHEMA_DRAFT_4, keyword_count},
    {"required", SCHEMA_DRAFT_4, keyword_required},
    {"properties", SCHEMA_DRAFT_4, keyword_properties},
    {"patternProperties", SCHEMA_DRAFT_4, keyword_properties},
    {"additionalProperties", SCHEMA_DRAFT_4, keyword_properties},
    {"propertyNames", SCHEMA_DRAFT_6, keyword_property_names},
    {"dependencies", SCHEMA_DRAFT_4, keyword_dependent},
    {"dependentRequired", SCHEMA_DRAFT_2019, keyword_dependent},
    {"dependentSchemas", SCHEMA_DRAFT_2019, keyword_dependent},
    {"allOf", SCHEMA_DRAFT_4, keyword_all_of},
    {"anyOf", SCHEMA_DRAFT_4, keyword_any_of},
    {"oneOf", SCHEMA_DRAFT_4, keyword_any_of},
    {"not", SCHEMA_DRAFT_4, keyword_not},
    {"if", SCHEMA_DRAFT_7, keyword_if},
    {"unevaluatedProperties", SCHEMA_DRAFT_2019, keyword_unevaluated},
    {"unevaluatedItems", SCHEMA_DRAFT_2019, keyword_unevaluated},
    {"disallow", SCHEMA_DRAFT_4, keyword_obsolete},
    {"divisibleBy", SCHEMA_DRAFT_4, keyword_obsolete},
};

ImpStatus keyword_atoms(KeywordContext *context, const SchemaNode *node, AtomList *out)
{
    KeywordUse use = {.context = context, .node = node, .name = "$ref", .out = out};
    if (node->reference != NULL)
        IMP_TRY(emit(&use, (Atom){.kind = ATOM_LITERAL, .literal = {node->reference, false}}));
    if (node->only_reference) return IMP_OK;
    for (size_t k = 0; k < sizeof keywords / sizeof keywords[0]; k++) {
        use.name = keywords[k].name;
        use.value = json_value_get(node->value, use.name);
        if (use.value != NULL && draft_has(&use, keywords[k].first)) IMP_TRY(keywords[k].handler(&use));
    }
    return IMP_OK;
}
