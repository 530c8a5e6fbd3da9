/*
 * dfa.c - running automata, and new ones from old: products, lists of strings, lengths.
 */
#include "runtime/constraint/dfa.h"
#include "runtime/constraint/dfa_build.h"
#include "runtime/constraint/json_value.h"

#include <stdlib.h>
#include <string.h>

/* The interval of code points that holds `code_point`. */
static uint32_t find_interval(const Dfa *dfa, uint32_t code_point)
{
    uint32_t low = 0;
    uint32_t high = dfa->n_bounds;
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        if (dfa->bounds[middle] <= code_point) low = middle;
        else high = middle;
    }
    return low;
}

bool dfa_step_possible(const Dfa *dfa, uint32_t state, uint32_t low, uint32_t high, uint32_t least, uint32_t most)
{
    if (most == 0) return false;
    const uint32_t least_after = least > 0 ? least - 1 : 0;
    const uint32_t most_after = most == DFA_UNBOUNDED ? DFA_UNBOUNDED : most - 1;
    for (uint32_t i = find_interval(dfa, low); i < dfa->n_bounds && dfa->bounds[i] <= high; i++) {
        const uint32_t next = dfa->next[(size_t)state * dfa->n_classes + dfa->bound_class[i]];
        if (dfa_within(dfa, next, least_after, most_after)) return true;
    }
    return false;
}

enum { MAX_REACH = 4 * 1000 * 1000 };

ImpStatus dfa_with_lengths(Arena *arena, const Dfa *dfa, uint32_t min, const Dfa **out)
{
    const size_t width = (size_t)min + 1;
    if (min >= MAX_REACH || width * dfa->n_states > MAX_REACH)
        return imp_fail(IMP_ERR_LIMIT, "a pattern of %u states with a length of at least %u", (unsigned)dfa->n_states, (unsigned)min);
    uint32_t *reach = arena_alloc(arena, width * dfa->n_states, sizeof *reach);
    Dfa *copy = arena_alloc(arena, 1, sizeof *copy);
    if (reach == NULL || copy == NULL) return imp_fail_memory(width * dfa->n_states * sizeof *reach);
    for (uint32_t s = 0; s < dfa->n_states; s++) reach[s * width] = s == DFA_DEAD ? DFA_UNBOUNDED : dfa->shortest[s];
    for (size_t least = 1; least < width; least++) {
        reach[least] = DFA_UNBOUNDED;
        for (uint32_t s = 1; s < dfa->n_states; s++) {
            uint32_t nearest = DFA_UNBOUNDED;
            for (uint32_t c = 0; c < dfa->n_classes; c++) {
                const uint32_t behind = reach[dfa->next[(size_t)s * dfa->n_classes + c] * width + least - 1];
                if (behind < nearest) nearest = behind;
            }
            reach[s * width + least] = nearest == DFA_UNBOUNDED ? DFA_UNBOUNDED : nearest + 1;
        }
    }
    *copy = *dfa;
    copy->reach = reach;
    copy->n_reach = (uint32_t)width;
    for (uint32_t s = 1; s < dfa->n_states; s++) {
        if (reach[s * width + min] > copy->farthest_end) copy->farthest_end = reach[s * width + min];
    }
    *out = copy;
    return IMP_OK;
}

uint64_t dfa_range_completions(const Dfa *dfa, uint32_t state, uint32_t low, uint32_t high)
{
    uint64_t count = 0;
    for (uint32_t i = find_interval(dfa, low); i < dfa->n_bounds && dfa->bounds[i] <= high; i++) {
        const uint32_t end = i + 1 < dfa->n_bounds ? dfa->bounds[i + 1] - 1 : CODE_POINT_MAX;
        const uint32_t next = dfa->next[(size_t)state * dfa->n_classes + dfa->bound_class[i]];
        if (next == DFA_DEAD) continue;
        if (dfa->completions[next] == DFA_UNBOUNDED) return UINT64_MAX;
        const uint32_t first = dfa->bounds[i] > low ? dfa->bounds[i] : low;
        count += (uint64_t)dfa->completions[next] * ((end < high ? end : high) - first + 1);
    }
    return count;
}

bool dfa_goes_alike(const Dfa *a, const Dfa *b)
{
    if (a == b) return true;
    if (a->n_states != b->n_states || a->n_classes != b->n_classes || a->n_bounds != b->n_bounds) return false;
    return memcmp(a->bounds, b->bounds, a->n_bounds * sizeof *a->bounds) == 0 &&
           memcmp(a->bound_class, b->bound_class, a->n_bounds * sizeof *a->bound_class) == 0 &&
           memcmp(a->next, b->next, (size_t)a->n_states * a->n_classes * sizeof *a->next) == 0;
}

uint32_t dfa_match(const Dfa *dfa, const char *text, size_t length)
{
    uint32_t state = dfa->start;
    for (size_t at = 0; at < length && state != DFA_DEAD;) state = dfa_step(dfa, state, utf8_next(text, length, &at));
    return dfa->label[state];
}

static uint64_t accepted_parts(const Dfa *const *parts, size_t n_parts, const uint32_t *states)
{
    uint64_t accepted = 0;
    for (size_t k = 0; k < n_parts; k++) {
        if (parts[k]->label[states[k]] != 0) accepted |= 1ULL << k;
    }
    return accepted;
}

ImpStatus dfa_product(Arena *arena, const Dfa *const *parts, size_t n_parts, DfaLabel *label, const void *context,
                      uint32_t max_states, const Dfa **out)
{
    if (n_parts > DFA_MAX_PARTS) return imp_fail(IMP_ERR_LIMIT, "more than %d patterns together", DFA_MAX_PARTS);
    uint32_t tuple[DFA_MAX_PARTS + 1] = {0};
    uint16_t *part_class = NULL;
    uint32_t start = 0;
    DfaBuilder builder = {0};
    ImpStatus status = dfa_builder_init(&builder, arena, max_states);
    if (status == IMP_OK) status = dfa_builder_refine(&builder, parts, n_parts, &part_class);
    if (status != IMP_OK) goto fail;
    for (size_t k = 0; k < n_parts; k++) tuple[k] = parts[k]->start;
    IMP_GOTO(dfa_builder_state(&builder, tuple, n_parts, label(context, accepted_parts(parts, n_parts, tuple)), &start));
    for (uint32_t s = start; s < builder.n_states; s++) {
        for (uint32_t c = 0; c < builder.n_classes; c++) {
            size_t count = 0;
            const uint32_t *from = dfa_builder_key(&builder, s, &count);
            for (size_t k = 0; k < n_parts; k++) {
                const uint32_t class = part_class[k * builder.n_classes + c];
                tuple[k] = parts[k]->next[(size_t)from[k] * parts[k]->n_classes + class];
            }
            uint32_t target = DFA_DEAD;
            const uint32_t accepted = label(context, accepted_parts(parts, n_parts, tuple));
            IMP_GOTO(dfa_builder_state(&builder, tuple, n_parts, accepted, &target));
            builder.next[(size_t)s * builder.n_classes + c] = target;
        }
    }
    status = dfa_builder_finish(&builder, start, out);
fail:
    free(part_class);
    dfa_builder_free(&builder);
    return status;
}

static uint32_t label_required(const void *context, uint64_t accepted) { return accepted == *(const uint64_t *)context; }

ImpStatus dfa_combine(Arena *arena, const Dfa *const *required, size_t n_required, const Dfa *const *refused,
                      size_t n_refused, uint32_t max_states, const Dfa **out)
{
    const Dfa *parts[DFA_MAX_PARTS];
    if (n_required + n_refused > DFA_MAX_PARTS)
        return imp_fail(IMP_ERR_LIMIT, "more than %d patterns for one string", DFA_MAX_PARTS);
    if (n_required == 1 && n_refused == 0) {
        *out = required[0];
        return IMP_OK;
    }
    for (size_t i = 0; i < n_required; i++) parts[i] = required[i];
    for (size_t i = 0; i < n_refused; i++) parts[n_required + i] = refused[i];
    const uint64_t wanted = n_required == 64 ? UINT64_MAX : (1ULL << n_required) - 1;
    return dfa_product(arena, parts, n_required + n_refused, label_required, &wanted, max_states, out);
}

/* The states that a machine reaches, numbered by what it calls them; DFA_DEAD where it refuses. */
static ImpStatus follow_machine(DfaBuilder *builder, const DfaMachine *machine, const uint8_t *contains, uint32_t start)
{
    static const uint32_t refused[2] = {0, 1};
    for (uint32_t s = start; s < builder->n_states; s++) {
        for (uint32_t c = 0; c < builder->n_classes; c++) {
            size_t count = 0, letter = 0;
            uint32_t key[1] = {0}, target = DFA_DEAD;
            const uint32_t from = dfa_builder_key(builder, s, &count)[0];
            const bool is_dead = count == 2;
            while (letter < machine->n_letters && contains[letter * builder->n_classes + c] == 0) letter++;
            const uint32_t seen = letter < machine->n_letters ? machine->letters[letter] : 0;
            if (is_dead || !machine->step(machine->context, from, seen, key))
                IMP_TRY(dfa_builder_state(builder, refused, 2, 0, &target));
            else IMP_TRY(dfa_builder_state(builder, key, 1, machine->may_end(machine->context, key[0]), &target));
            builder->next[(size_t)s * builder->n_classes + c] = target;
        }
    }
    return IMP_OK;
}

ImpStatus dfa_from_machine(Arena *arena, const DfaMachine *machine, uint32_t max_states, const Dfa **out)
{
    const uint32_t first[1] = {0};
    const CharSet none = {0};
    uint8_t *contains = NULL;
    uint32_t start = 0;
    DfaBuilder builder = {0};
    CharSet *sets = arena_alloc(arena, machine->n_letters, sizeof *sets);
    ImpStatus status = sets != NULL ? dfa_builder_init(&builder, arena, max_states) : imp_fail_memory(machine->n_letters * sizeof *sets);
    for (size_t i = 0; i < machine->n_letters && status == IMP_OK; i++) {
        status = charset_add(arena, &sets[i], machine->letters[i], machine->letters[i]);
        charset_finish(&sets[i]);
    }
    if (status == IMP_OK) status = dfa_builder_classes(&builder, sets, machine->n_letters, &none, &contains);
    if (status == IMP_OK) status = dfa_builder_state(&builder, first, 1, machine->may_end(machine->context, 0), &start);
    if (status == IMP_OK) status = follow_machine(&builder, machine, contains, start);
    if (status == IMP_OK) status = dfa_builder_finish(&builder, start, out);
    free(contains);
    dfa_builder_free(&builder);
    return status;
}

/* Adds the characters of one string as a chain that ends in `accept`. */
static ImpStatus add_string(Nfa *nfa, const char *text, size_t length, uint32_t accept, uint32_t *entry)
{
    uint32_t node = accept;
    for (size_t end = length; end > 0;) {
        size_t start = end - 1;
        while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80) start--;
        size_t at = start;
        CharSet one = {0};
        const uint32_t c = utf8_next(text, length, &at);
        IMP_TRY(charset_add(nfa->arena, &one, c, c));
        uint32_t set = 0;
        IMP_TRY(nfa_add_set(nfa, &one, &set));
        IMP_TRY(nfa_add(nfa, NFA_CHARS, node, set, &node));
        end = start;
    }
    *entry = node;
    return IMP_OK;
}

ImpStatus dfa_from_strings(Arena *arena, const char *const *strings, const size_t *lengths, size_t n, const Dfa **out)
{
    Nfa nfa;
    Arena scratch = {0};
    uint32_t accept = 0;
    uint32_t start = NFA_NONE;
    nfa_init(&nfa, &scratch, 200000);
    ImpStatus status = nfa_add(&nfa, NFA_ACCEPT, 1, NFA_NONE, &accept);
    for (size_t i = 0; status == IMP_OK && i < n; i++) {
        uint32_t entry = 0;
        status = add_string(&nfa, strings[i], lengths[i], accept, &entry);
        if (status == IMP_OK) status = nfa_add(&nfa, NFA_SPLIT, entry, start, &start);
    }
    if (status == IMP_OK && start == NFA_NONE) status = nfa_add(&nfa, NFA_SPLIT, NFA_NONE, NFA_NONE, &start);
    if (status == IMP_OK) status = nfa_determinize(&nfa, start, true, 100000, arena, out);
    nfa_free(&nfa);
    arena_free(&scratch);
    return status;
}

ImpStatus dfa_from_lengths(Arena *arena, uint32_t min, uint32_t max, const Dfa **out)
{
    Nfa nfa;
    Arena scratch = {0};
    CharSet any = {.ranges = &(CharRange){0, CODE_POINT_MAX}, .count = 1};
    uint32_t set = 0;
    uint32_t node = 0;
    nfa_init(&nfa, &scratch, 400000);
    ImpStatus status = nfa_add_set(&nfa, &any, &set);
    if (status == IMP_OK) status = nfa_add(&nfa, NFA_ACCEPT, 1, NFA_NONE, &node);
    const uint32_t last = node;
    if (status == IMP_OK && max == DFA_UNBOUNDED) {
        uint32_t loop = 0;
        status = nfa_add(&nfa, NFA_CHARS, NFA_NONE, set, &loop);
        if (status == IMP_OK) status = nfa_add(&nfa, NFA_SPLIT, last, loop, &node);
        if (status == IMP_OK) nfa.nodes[loop].a = node;
    }
    for (uint32_t i = min; status == IMP_OK && max != DFA_UNBOUNDED && i < max; i++) {
        status = nfa_add(&nfa, NFA_CHARS, node, set, &node);
        if (status == IMP_OK) status = nfa_add(&nfa, NFA_SPLIT, last, node, &node);
    }
    for (uint32_t i = 0; status == IMP_OK && i < min; i++) status = nfa_add(&nfa, NFA_CHARS, node, set, &node);
    if (status == IMP_OK) status = nfa_determinize(&nfa, node, true, 100000, arena, out);
    nfa_free(&nfa);
    arena_free(&scratch);
    return status;
}
