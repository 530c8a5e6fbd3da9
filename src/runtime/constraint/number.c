/*
 * number.c - number shapes while reading.
 *
 * What can follow a prefix is a union of intervals: with n more digits before the point, 12 becomes 12·10ⁿ … 13·10ⁿ. The
 * question is whether an interval holds a value of the shape: the first multiple of the step at or above its lower end is
 * looked at, and the next few when that one is refused for another reason.
 */
#include "runtime/constraint/number.h"

#include <math.h>

/* Integers may be longer than what is calculated with, where any that long will do. Exponents are those of doubles. */
enum { MAX_DIGITS = 36, MAX_INTEGER_DIGITS = 40, MAX_DECIMALS = 24, MIN_EXPONENT = -324, MAX_EXPONENT = 308, MAX_TRIES = 64 };
/* Numbers of so many digits are told apart by doubles. */
enum { MAX_EXACT_DIGITS = 15 };

static int32_t max_decimals(int32_t n_digits)
{
    const int32_t left = MAX_DIGITS - n_digits;
    return left < MAX_DECIMALS ? left : MAX_DECIMALS;
}

/* A multiple of something is written with fewer, but for zeros at its beginning: no double needs more. */
enum { MAX_STEP_DIGITS = 20 };

static int32_t shape_decimals(const NumberShape *shape, int32_t n_digits)
{
    const int32_t most = max_decimals(n_digits);
    const int32_t left = MAX_STEP_DIGITS - n_digits;
    const bool any_integer = shape->step.digits == 1 && shape->step.exponent == 0;
    if (!shape->has_step || any_integer || left > most || n_digits == 1) return most;
    return left > 0 ? left : 0;
}

static void add_digit(NumberText *text, unsigned char byte) { text->digits = text->digits * 10U + (unsigned)(byte - '0'); }

static bool put_digit(NumberText *text, unsigned char byte)
{
    switch ((NumberPhase)text->phase) {
    case NUMBER_START:
    case NUMBER_MINUS:
        text->phase = byte == '0' ? NUMBER_ZERO : NUMBER_DIGITS;
        text->n_digits = 1;
        add_digit(text, byte);
        return true;
    case NUMBER_ZERO: return false;
    case NUMBER_DIGITS:
        if (text->n_digits == MAX_INTEGER_DIGITS) return false;
        if (text->n_digits++ < MAX_DIGITS) add_digit(text, byte);
        return true;
    case NUMBER_POINT:
    case NUMBER_DECIMALS:
        if (text->n_decimals == max_decimals(text->n_digits)) return false;
        text->phase = NUMBER_DECIMALS;
        text->n_decimals++;
        add_digit(text, byte);
        return true;
    case NUMBER_E:
    case NUMBER_E_SIGN:
    case NUMBER_EXPONENT: break;
    }
    if (text->n_exponent == 3) return false;
    text->phase = NUMBER_EXPONENT;
    text->n_exponent++;
    text->exponent = (int16_t)(text->exponent * 10 + (byte - '0'));
    return text->exponent_negative ? -text->exponent >= MIN_EXPONENT : text->exponent <= MAX_EXPONENT - (text->n_digits - 1);
}

static bool is_long(const NumberText *text) { return text->n_digits > MAX_DIGITS; }

static bool may_take_exponent(const NumberText *text)
{
    return !is_long(text) &&
           (text->phase == NUMBER_ZERO || text->phase == NUMBER_DIGITS || text->phase == NUMBER_DECIMALS);
}

bool number_put(NumberText *text, unsigned char byte)
{
    if (byte >= '0' && byte <= '9') return put_digit(text, byte);
    const NumberPhase phase = (NumberPhase)text->phase;
    if (byte == '-' && phase == NUMBER_START) {
        text->negative = true;
        text->phase = NUMBER_MINUS;
        return true;
    }
    if (byte == '.' && (phase == NUMBER_ZERO || phase == NUMBER_DIGITS) && max_decimals(text->n_digits) > 0) {
        text->phase = NUMBER_POINT;
        return true;
    }
    if ((byte == 'e' || byte == 'E') && may_take_exponent(text)) {
        text->phase = NUMBER_E;
        return true;
    }
    if ((byte == '-' || byte == '+') && phase == NUMBER_E) {
        text->exponent_negative = byte == '-';
        text->phase = NUMBER_E_SIGN;
        return true;
    }
    return false;
}

static bool bounds_hold(const NumberShape *shape, Decimal value, bool is_float)
{
    const NumberBound *low = is_float ? &shape->float_low : &shape->low;
    const NumberBound *high = is_float ? &shape->float_high : &shape->high;
    if (low->present) {
        const int order = decimal_compare(value, low->value);
        if (order < 0 || (order == 0 && low->exclusive)) return false;
    }
    if (high->present) {
        const int order = decimal_compare(value, high->value);
        if (order > 0 || (order == 0 && high->exclusive)) return false;
    }
    return true;
}

static int32_t magnitude(Decimal value) { return decimal_digit_count(value.digits) + value.exponent - 1; }

/* Others read it as a double that is neither infinite nor 0 for something else. */
static bool is_double(Decimal value)
{
    if (value.digits == 0) return true;
    const int32_t power = magnitude(value);
    if (power > MIN_EXPONENT + 1 && power < MAX_EXPONENT) return true;
    const double number = decimal_to_double(value);
    return isfinite(number) && number != 0;
}

/* Programs that multiply doubles write 33 * 0.1 as 3.3000000000000003: with one step that is a double, what is a multiple in
 * doubles (rest_holds) need not be one in decimals. */
static bool double_step(const NumberShape *shape, bool is_float)
{
    return is_float && shape->n_double_steps == 1 && decimal_to_double(shape->step) == shape->double_steps[0];
}

/* What is asked beside bounds, lists and the exact step. */
static bool rest_holds(const NumberShape *shape, Decimal value, bool is_float)
{
    if (shape->form == NUMBER_FRACTIONAL) {
        const double number = decimal_to_double(value);
        if (decimal_is_integer(value) || floor(number) == number) return false;
    }
    /* Beyond 2^53 a double is another number than the text; among doubles all of them are whole. */
    const bool exact_step = is_float && shape->has_step && !double_step(shape, is_float);
    const double rounded = exact_step ? decimal_to_double(value) : 0;
    if (fabs(rounded) > 9007199254740992.0 && fmod(rounded, decimal_to_double(shape->step)) != 0) return false;
    for (size_t i = 0; i < shape->n_double_steps; i++) {
        const double quotient = decimal_to_double(value) / shape->double_steps[i];
        if (!isfinite(quotient) || floor(quotient) != quotient) return false;
    }
    for (size_t i = 0; i < shape->n_refused_steps; i++) {
        const double quotient = decimal_to_double(value) / decimal_to_double(shape->refused_steps[i]);
        if (decimal_is_multiple(value, shape->refused_steps[i]) || (is_float && floor(quotient) == quotient)) return false;
    }
    for (size_t i = 0; i < shape->n_refused; i++) {
        if (decimal_compare(value, shape->refused[i]) == 0) return false;
        if (is_float && decimal_to_double(value) == decimal_to_double(shape->refused[i])) return false;
    }
    return shape->is_taken == NULL || !shape->is_taken(shape->taken_context, value, is_float);
}

/* Programs read long integers as doubles too where the step is one. */
static bool step_holds(const NumberShape *shape, Decimal value, bool is_float)
{
    const bool as_double = is_float || decimal_digit_count(value.digits) + value.exponent > MAX_EXACT_DIGITS;
    return !shape->has_step || double_step(shape, as_double) || decimal_is_multiple(value, shape->step);
}

static bool form_allows(const NumberShape *shape, bool is_float)
{
    return is_float ? shape->form != NUMBER_INTEGER_TEXT
                    : shape->form != NUMBER_FLOAT_TEXT && shape->form != NUMBER_FRACTIONAL;
}

/* The first listed value that is not below `value`. */
static size_t first_listed(const NumberShape *shape, Decimal value)
{
    size_t a = 0;
    size_t b = shape->n_allowed;
    while (a < b) {
        const size_t middle = (a + b) / 2;
        if (decimal_compare(shape->allowed[middle], value) < 0) a = middle + 1;
        else b = middle;
    }
    return a;
}

/* The listed value may be written so: an integer that is no double is never equal to one. */
static bool listed_holds(const NumberShape *shape, size_t i, bool is_float)
{
    const Decimal value = shape->allowed[i];
    if (is_float && shape->integers != NULL && shape->integers[i]) {
        const double number = fabs(decimal_to_double(value));
        const bool countable = number > 9007199254740992.0 && decimal_digit_count(value.digits) + value.exponent <= DECIMAL_MAX_DIGITS - 1;
        if (countable && (DecimalDigits)number != value.digits * decimal_power(value.exponent)) return false;
    }
    return rest_holds(shape, value, is_float);
}

static bool value_holds(const NumberShape *shape, Decimal value, bool is_float)
{
    if (!form_allows(shape, is_float) || (is_float && !is_double(value))) return false;
    if (shape->listed) {
        const size_t i = first_listed(shape, value);
        const bool there = i < shape->n_allowed && decimal_compare(shape->allowed[i], value) == 0;
        return there && listed_holds(shape, i, is_float);
    }
    return bounds_hold(shape, value, is_float) && step_holds(shape, value, is_float) && rest_holds(shape, value, is_float);
}

static Decimal text_value(const NumberText *text, int32_t exponent)
{
    const int32_t left_out = is_long(text) ? text->n_digits - MAX_DIGITS : 0;
    return (Decimal){text->digits, exponent - text->n_decimals + left_out, text->negative && text->digits != 0};
}

Decimal number_value(const NumberText *text)
{
    return decimal_normalize(text_value(text, text->exponent_negative ? -text->exponent : text->exponent));
}

static bool unrestricted(const NumberShape *shape)
{
    return !shape->listed && !shape->has_step && !shape->low.present && !shape->high.present && shape->n_refused == 0 &&
           shape->n_refused_steps == 0 && shape->is_taken == NULL && shape->form == NUMBER_ANY;
}

/* Behind several digits an exponent is negative only where any number will do: nobody writes 120e-1, and what exceeds a maximum shall
 * not be led there. */
static int32_t least_exponent(const NumberShape *shape, const NumberText *text)
{
    return text->n_digits > 1 && !unrestricted(shape) ? 0 : MIN_EXPONENT;
}

/* Every integer of more than MAX_DIGITS digits and this sign is a value of the shape. */
static bool holds_long(const NumberShape *shape, bool negative)
{
    const NumberBound *far = negative ? &shape->low : &shape->high;
    const NumberBound *near = negative ? &shape->high : &shape->low;
    if (!form_allows(shape, false) || shape->listed || far->present) return false;
    if (shape->n_refused > 0 || shape->n_refused_steps > 0 || shape->is_taken != NULL) return false;
    if (shape->has_step && (shape->n_double_steps > 0 || shape->step.digits != 1 || shape->step.exponent > 0)) return false;
    return !near->present || near->value.negative != negative || magnitude(near->value) < MAX_DIGITS;
}

bool number_complete(const NumberShape *shape, const NumberText *text)
{
    if (is_long(text)) return holds_long(shape, text->negative);
    switch ((NumberPhase)text->phase) {
    case NUMBER_ZERO:
    case NUMBER_DIGITS: return value_holds(shape, text_value(text, 0), false);
    case NUMBER_DECIMALS: return value_holds(shape, text_value(text, 0), true);
    case NUMBER_EXPONENT: {
        const int32_t exponent = text->exponent_negative ? -text->exponent : text->exponent;
        return exponent >= least_exponent(shape, text) && value_holds(shape, text_value(text, exponent), true);
    }
    case NUMBER_START:
    case NUMBER_MINUS:
    case NUMBER_POINT:
    case NUMBER_E:
    case NUMBER_E_SIGN: break;
    }
    return false;
}

/* Multiples of 10^resolution from `low` to `high`, both included. */
typedef struct Interval {
    Decimal low, high;
    int32_t resolution;
} Interval;

/* What `digits` * 10^exponent and more decimals, down to 10^resolution, can be. */
static Interval interval_of(DecimalDigits digits, int32_t exponent, int32_t resolution, bool negative)
{
    const DecimalDigits scale = decimal_power(exponent - resolution);
    const Decimal nearest = {digits, exponent, negative && digits != 0};
    const Decimal farthest = {(digits + 1) * scale - 1, resolution, negative && (digits + 1) * scale > 1};
    return (Interval){negative ? farthest : nearest, negative ? nearest : farthest, resolution};
}

static bool list_meets(const NumberShape *shape, const Interval *interval, bool is_float)
{
    const Decimal unit = {1, interval->resolution, false};
    for (size_t i = first_listed(shape, interval->low); i < shape->n_allowed; i++) {
        const Decimal value = shape->allowed[i];
        if (decimal_compare(value, interval->high) > 0) break;
        if (decimal_is_multiple(value, unit) && listed_holds(shape, i, is_float)) return true;
    }
    return false;
}

/* A product of the double step, as a double, lies between `from` and `to`. */
static bool products_meet(const NumberShape *shape, Decimal from, Decimal to, Decimal unit)
{
    const double step = shape->double_steps[0];
    const double least = decimal_to_double(from);
    const double most = decimal_to_double(to);
    double factor = floor(least / step) - 1;
    double last = NAN;
    for (int i = 0; i < MAX_TRIES && isfinite(factor) && factor * step <= most; i++, factor++) {
        if (factor * step < least || factor * step == last) continue;
        last = factor * step;
        if (floor(last / step) != last / step) continue;
        const Decimal value = decimal_from_double(last); /* which takes far longer than the rest */
        if (decimal_compare(value, from) < 0) continue;
        if (decimal_compare(value, to) > 0) break;
        if (decimal_is_multiple(value, unit) && value_holds(shape, value, true)) return true;
    }
    return false;
}

/* The lower end is refused (an integer, a listed value), and so is all that rounds to the same double: look a little and then
 * ever farther above it. */
static bool neighbours_meet(const NumberShape *shape, Decimal from, Decimal to, Decimal unit, bool is_float)
{
    Decimal start;
    if (!decimal_ceil_multiple(from, unit, &start)) return false;
    for (Decimal distance = unit; distance.exponent < unit.exponent + MAX_DIGITS; distance.exponent++) {
        Decimal value;
        if (!decimal_add(start, distance, &value) || decimal_compare(value, to) > 0) break;
        if (value_holds(shape, value, is_float)) return true;
    }
    return false;
}

/* Some value of the shape lies in the interval. */
static bool shape_meets(const NumberShape *shape, const Interval *interval, bool is_float)
{
    if (!form_allows(shape, is_float)) return false;
    if (shape->listed) return list_meets(shape, interval, is_float);
    const NumberBound *low = is_float ? &shape->float_low : &shape->low;
    const NumberBound *high = is_float ? &shape->float_high : &shape->high;
    Decimal from = interval->low;
    Decimal to = interval->high;
    if (low->present && decimal_compare(low->value, from) > 0) from = low->value;
    if (high->present && decimal_compare(high->value, to) < 0) to = high->value;
    if (decimal_compare(from, to) > 0) return false;
    const Decimal unit = {1, interval->resolution, false};
    /* Steps are multiples of 10^-15, which every resolution divides, except that of whole numbers. */
    const Decimal step = shape->has_step && shape->step.exponent >= interval->resolution ? shape->step : unit;
    Decimal value;
    if (!decimal_ceil_multiple(from, step, &value)) return false;
    for (size_t i = 0; i < MAX_TRIES + shape->n_refused + shape->n_taken && decimal_compare(value, to) <= 0; i++) {
        if (value_holds(shape, value, is_float)) return true;
        if (!decimal_add(value, step, &value)) break;
    }
    if (!shape->has_step) return neighbours_meet(shape, from, to, unit, is_float);
    return double_step(shape, is_float) && products_meet(shape, from, to, unit);
}

/* The interval lies beyond everything the shape holds, and so does every one farther from 0. */
static bool beyond(const NumberShape *shape, const Interval *interval, bool negative)
{
    if (shape->listed) return false;
    return negative ? shape->low.present && decimal_compare(interval->high, shape->low.value) < 0
                    : shape->high.present && decimal_compare(interval->low, shape->high.value) > 0;
}

/* Powers of ten at the first digit of numbers other than 0. */
typedef struct Magnitudes {
    int32_t least, most;
} Magnitudes;

static void narrow_magnitudes(Magnitudes *range, const NumberBound *low, const NumberBound *high, bool negative)
{
    const NumberBound *near = negative ? high : low;
    const NumberBound *far = negative ? low : high;
    /* Bounds on doubles differ from those on what is written by less than a digit. */
    if (near->present && near->value.digits != 0 && near->value.negative == negative &&
        magnitude(near->value) - 1 > range->least)
        range->least = magnitude(near->value) - 1;
    if (!far->present) return;
    if (far->value.digits == 0 || far->value.negative != negative) range->most = range->least - 1;
    else if (magnitude(far->value) + 1 < range->most) range->most = magnitude(far->value) + 1;
}

/* Those of the shape's numbers of one sign, or more: only among them is it worth looking. */
static Magnitudes magnitudes_of(const NumberShape *shape, bool negative)
{
    Magnitudes range = {MIN_EXPONENT, MAX_EXPONENT};
    if (!shape->listed) {
        Magnitudes floats = range;
        narrow_magnitudes(&range, &shape->low, &shape->high, negative);
        narrow_magnitudes(&floats, &shape->float_low, &shape->float_high, negative);
        if (floats.least > floats.most) return range;
        if (range.least > range.most) return floats;
        if (floats.least < range.least) range.least = floats.least;
        if (floats.most > range.most) range.most = floats.most;
        return range;
    }
    size_t first = first_listed(shape, (Decimal){0});
    size_t end = negative ? first : shape->n_allowed;
    if (negative) first = 0;
    else if (first < end && shape->allowed[first].digits == 0) first++;
    if (first == end) return (Magnitudes){0, -1};
    range.least = magnitude(shape->allowed[negative ? end - 1 : first]);
    range.most = magnitude(shape->allowed[negative ? first : end - 1]);
    return range;
}

/* More digits before the point, then perhaps decimals. */
static bool digits_live(const NumberShape *shape, const NumberText *text)
{
    int32_t least = 0;
    int32_t more = 0;
    if (text->phase != NUMBER_ZERO) {
        const Magnitudes range = magnitudes_of(shape, text->negative);
        least = range.least - (text->n_digits - 1);
        more = range.most - (text->n_digits - 1);
        if (least < 0) least = 0;
        if (more > MAX_DIGITS - text->n_digits) more = MAX_DIGITS - text->n_digits;
    }
    for (int32_t k = least; k <= more; k++) {
        /* Taken numbers tend to be short ones. */
        const int32_t n = shape->is_taken == NULL ? k : least + more - k;
        Interval interval = interval_of(text->digits, n, 0, text->negative);
        if (beyond(shape, &interval, text->negative)) continue;
        if (shape_meets(shape, &interval, false)) return true;
        const int32_t decimals = shape_decimals(shape, text->n_digits + n);
        interval = interval_of(text->digits, n, -decimals, text->negative);
        if (decimals > 0 && shape_meets(shape, &interval, true)) return true;
    }
    return false;
}

/* The exponent `size`, perhaps after zeros, begins with the digits that are there. */
static bool exponent_begins(const NumberText *text, int32_t size)
{
    for (int32_t n = text->n_exponent; n <= 3; n++, size /= 10) {
        if (size == text->exponent) return true;
    }
    return false;
}

/* With this exponent, perhaps after more decimals. */
static bool exponent_meets(const NumberShape *shape, const NumberText *text, int32_t exponent)
{
    const int32_t size = exponent < 0 ? -exponent : exponent;
    if (text->phase == NUMBER_DECIMALS && exponent == 0) return false; /* nothing that is not there without it */
    if (text->phase >= NUMBER_E_SIGN && exponent != 0 && (exponent < 0) != text->exponent_negative) return false;
    if (text->n_exponent > 0 && !exponent_begins(text, size)) return false;
    if (text->phase >= NUMBER_E) return value_holds(shape, text_value(text, exponent), true);
    const int32_t finest = exponent - shape_decimals(shape, text->n_digits);
    const Interval interval = interval_of(text->digits, exponent - text->n_decimals, finest, text->negative);
    return shape_meets(shape, &interval, true);
}

/* With an exponent, whose sign and first digits may be there. Only those are tried that lead to a magnitude of the shape. */
static bool exponent_live(const NumberShape *shape, const NumberText *text)
{
    if (!form_allows(shape, true)) return false;
    if (text->digits == 0 && text->phase >= NUMBER_E) return value_holds(shape, (Decimal){0}, true);
    Magnitudes range = magnitudes_of(shape, text->negative);
    if (shape->has_step && magnitude(shape->step) - 1 > range.least) range.least = magnitude(shape->step) - 1;
    /* A multiple of 7 beyond that is written by nobody; any integer may be. */
    const bool any_integer = shape->step.digits == 1 && shape->step.exponent == 0;
    if (shape->has_step && !any_integer && range.most > MAX_DIGITS) range.most = MAX_DIGITS;
    /* Doubles beyond 2^53 are multiples of it by chance: those are not looked for. */
    const bool by_chance = shape->has_step && !any_integer && shape->n_double_steps == 0 && text->phase < NUMBER_E;
    if (by_chance && range.most > MAX_EXACT_DIGITS) range.most = MAX_EXACT_DIGITS;
    const int32_t point = text->n_decimals - (decimal_digit_count(text->digits) - 1);
    range.least += point;
    /* Behind zeros more zeros can come. */
    range.most += text->digits == 0 ? shape_decimals(shape, text->n_digits) : point;
    if (range.least < least_exponent(shape, text)) range.least = least_exponent(shape, text);
    if (range.most > MAX_EXPONENT - (text->n_digits - 1)) range.most = MAX_EXPONENT - (text->n_digits - 1);
    /* Without decimals a number is a multiple soonest, or when it is so large that doubles are whole; small exponents come next. */
    for (size_t i = 0; i < 3 && shape->has_step && text->phase < NUMBER_E; i++) {
        static const int32_t more[] = {0, 1, 18};
        const int32_t exponent = text->n_decimals + more[i];
        if (exponent >= range.least && exponent <= range.most && exponent_meets(shape, text, exponent)) return true;
    }
    for (int32_t exponent = range.least > 0 ? range.least : 0; exponent <= range.most; exponent++) {
        if (exponent_meets(shape, text, exponent)) return true;
    }
    for (int32_t exponent = range.most < -1 ? range.most : -1; exponent >= range.least; exponent--) {
        if (exponent_meets(shape, text, exponent)) return true;
    }
    return false;
}

/* A digit that begins well. */
static bool first_digit_live(const NumberShape *shape, const NumberText *text)
{
    for (unsigned char digit = '0'; digit <= '9'; digit++) {
        NumberText next = *text;
        if (number_put(&next, digit) && number_live(shape, &next)) return true;
    }
    if (text->phase == NUMBER_MINUS) return false;
    NumberText minus = *text;
    return number_put(&minus, '-') && number_live(shape, &minus);
}

/* Steps (in doubles) between the ends of the interval, as far as the bounds leave it. */
static double steps_within(const NumberShape *shape, const Interval *interval, bool is_float)
{
    const NumberBound *low = is_float ? &shape->float_low : &shape->low;
    const NumberBound *high = is_float ? &shape->float_high : &shape->high;
    double from = decimal_to_double(interval->low);
    double to = decimal_to_double(interval->high);
    if (low->present) from = fmax(from, decimal_to_double(low->value));
    if (high->present) to = fmin(to, decimal_to_double(high->value));
    return (to - from) / (shape->has_step ? decimal_to_double(shape->step) : is_float ? fabs(from) * 1e-15 + 1e-300 : 1);
}

bool number_resembles(const NumberText *text, Decimal value)
{
    /* Of that many digits the last ones may be lost in a double. */
    if (is_long(text) || text->digits == 0 || decimal_digit_count(text->digits) > MAX_EXACT_DIGITS) return true;
    if (value.digits == 0) return false;
    const int32_t more = decimal_digit_count(value.digits) - decimal_digit_count(text->digits);
    if (value.negative != text->negative) return false;
    if (more >= 0) return value.digits / decimal_power(more) == text->digits;
    /* Zeros come behind what the value has. */
    return text->digits % decimal_power(-more) == 0 && text->digits / decimal_power(-more) == value.digits;
}

/* Values of the interval, all of which are integers. */
static uint32_t count_integers(const NumberShape *shape, const Interval *interval)
{
    Decimal from = interval->low;
    Decimal to = interval->high;
    Decimal first;
    if (shape->low.present && decimal_compare(shape->low.value, from) > 0) from = shape->low.value;
    if (shape->high.present && decimal_compare(shape->high.value, to) < 0) to = shape->high.value;
    const Decimal step = shape->has_step ? shape->step : (Decimal){1, 0, false};
    if (decimal_compare(from, to) > 0 || !decimal_ceil_multiple(from, step, &first) || decimal_compare(first, to) > 0) return 0;
    const double steps = (decimal_to_double(to) - decimal_to_double(first)) / decimal_to_double(step);
    if (!(steps < 1e6)) return DFA_UNBOUNDED;
    double count = floor(steps * (1 + 1e-12)) + 1; /* a quotient that is whole may come out a little below */
    if (shape->low.present && shape->low.exclusive && decimal_compare(first, shape->low.value) == 0) count--;
    const bool at_high = shape->high.present && shape->high.exclusive && decimal_compare(to, shape->high.value) == 0;
    if (at_high && decimal_is_multiple(to, step)) count--;
    for (size_t i = 0; i < shape->n_refused; i++)
        count -= decimal_compare(shape->refused[i], from) >= 0 && decimal_compare(shape->refused[i], to) <= 0;
    return count < 1 ? 0 : (uint32_t)count;
}

uint32_t number_ways(const NumberShape *shape, const NumberText *text)
{
    uint32_t ways = 0;
    for (size_t i = 0; shape->listed && i < shape->n_allowed; i++) {
        NumberShape one = *shape;
        one.allowed = &shape->allowed[i];
        one.integers = shape->integers == NULL ? NULL : &shape->integers[i];
        one.n_allowed = 1;
        ways += number_live(&one, text);
    }
    if (shape->listed || shape->n_refused_steps > 0 || shape->n_double_steps > 0) return ways > 0 ? ways : 1;
    if (!form_allows(shape, false) || is_long(text) || (text->phase != NUMBER_ZERO && text->phase != NUMBER_DIGITS)) return 1;
    const int32_t most = text->phase == NUMBER_ZERO ? 0 : MAX_DIGITS - text->n_digits;
    for (int32_t k = 0; k <= most && ways != DFA_UNBOUNDED; k++) {
        const Interval interval = interval_of(text->digits, k, 0, text->negative);
        if (beyond(shape, &interval, text->negative)) break;
        ways = count_sum(ways, count_integers(shape, &interval));
    }
    return ways > 0 ? ways : 1;
}

bool number_has_more(const NumberShape *shape, const NumberText *text, size_t n)
{
    const double many = 2.0 * (double)(n + shape->n_refused) + 4;
    const bool is_float = text->phase == NUMBER_DECIMALS;
    if (shape->listed || shape->n_refused_steps > 0 || shape->n_double_steps > 0 || !form_allows(shape, is_float)) return false;
    if ((text->phase != NUMBER_DIGITS && !is_float) || text->n_digits + text->n_decimals > 18) return false;
    for (int32_t k = 0; k <= 18 - text->n_digits; k++) {
        const int32_t exponent = is_float ? -text->n_decimals : k;
        const int32_t resolution = is_float ? -shape_decimals(shape, text->n_digits) : 0;
        const Interval interval = interval_of(text->digits, exponent, resolution, text->negative);
        if (steps_within(shape, &interval, is_float) > many) return true;
        if (is_float) break;
    }
    return false;
}

bool number_live(const NumberShape *shape, const NumberText *text)
{
    if (is_long(text)) return holds_long(shape, text->negative);
    if (text->n_decimals > shape_decimals(shape, text->n_digits)) return false;
    if (text->phase == NUMBER_POINT && shape_decimals(shape, text->n_digits) == 0) return false;
    if (unrestricted(shape)) return text->n_exponent < 3 || number_complete(shape, text);
    switch ((NumberPhase)text->phase) {
    case NUMBER_START:
    case NUMBER_MINUS: return first_digit_live(shape, text);
    case NUMBER_ZERO:
    case NUMBER_DIGITS: return digits_live(shape, text) || exponent_live(shape, text);
    case NUMBER_POINT:
    case NUMBER_DECIMALS: {
        const int32_t decimals = shape_decimals(shape, text->n_digits);
        const Interval interval = interval_of(text->digits, -text->n_decimals, -decimals, text->negative);
        return shape_meets(shape, &interval, true) || exponent_live(shape, text);
    }
    case NUMBER_E:
    case NUMBER_E_SIGN:
    case NUMBER_EXPONENT: return exponent_live(shape, text);
    }
    return false;
}
