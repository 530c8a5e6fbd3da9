/*
 * operators.c - arithmetic, concatenation, repetition and comparison with Python's results and messages.
 *
 * Integers are computed in 64 bits, and again with big.c where those do not suffice.
 */
#include "text/template/operators.h"
#include "text/template/big.h"
#include "text/template/builtins.h"

#include <math.h>

static const char *const symbols[] = {
    [OPERATOR_ADD] = "+",
    [OPERATOR_SUBTRACT] = "-",
    [OPERATOR_MULTIPLY] = "*",
    [OPERATOR_DIVIDE] = "/",
    [OPERATOR_FLOOR_DIVIDE] = "//",
    [OPERATOR_MODULO] = "%",
    [OPERATOR_POWER] = "** or pow()",
};

static bool raise_operands(JinjaState *state, JinjaOperator operation, const JinjaValue *a, const JinjaValue *b)
{
    return jinja_raise(state, "unsupported operand type(s) for %s: '%s' and '%s'", symbols[operation],
                       jinja_type_name(a), jinja_type_name(b));
}

static int64_t integer_of(const JinjaValue *value)
{
    return value->kind == JINJA_BOOL ? value->boolean : value->integer;
}

/* ---- numbers ---- */

/* False when 64 bits do not suffice. */
static bool power_of_integers(int64_t base, int64_t exponent, int64_t *result)
{
    *result = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(*result, base, result)) return false;
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return false;
    }
    return true;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    const int64_t quotient = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

static int64_t floor_modulo(int64_t a, int64_t b)
{
    const int64_t remainder = a % b;
    return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

static bool power_of_doubles(JinjaState *state, double a, double b, JinjaValue *out);

static bool is_exact_double(int64_t value) { return value <= (int64_t)1 << 53 && value >= -((int64_t)1 << 53); }

/* Integers of 64 bits; *too_large when the result, or the way to it, has more. */
static bool operate_integers(JinjaState *state, JinjaOperator operation, int64_t a, int64_t b, bool *too_large,
                             JinjaValue *out)
{
    int64_t result = 0;
    switch (operation) {
    case OPERATOR_ADD:
        *too_large = __builtin_add_overflow(a, b, &result);
        break;
    case OPERATOR_SUBTRACT:
        *too_large = __builtin_sub_overflow(a, b, &result);
        break;
    case OPERATOR_MULTIPLY:
        *too_large = __builtin_mul_overflow(a, b, &result);
        break;
    case OPERATOR_DIVIDE:
        if (b == 0) return jinja_raise(state, "division by zero");
        *too_large = !is_exact_double(a) || !is_exact_double(b);
        if (!*too_large) *out = jinja_float((double)a / (double)b);
        return true;
    case OPERATOR_FLOOR_DIVIDE:
        if (b == 0) return jinja_raise(state, "integer division or modulo by zero");
        *too_large = a == INT64_MIN && b == -1;
        if (!*too_large) result = floor_divide(a, b);
        break;
    case OPERATOR_MODULO:
        if (b == 0) return jinja_raise(state, "integer modulo by zero");
        result = b == -1 ? 0 : floor_modulo(a, b);
        break;
    default:
        if (b < 0) return power_of_doubles(state, (double)a, (double)b, out);
        *too_large = !power_of_integers(a, b, &result);
    }
    *out = jinja_int(result);
    return true;
}

static bool operate_on_integers(JinjaState *state, JinjaOperator operation, const JinjaValue *a, const JinjaValue *b,
                                JinjaValue *out)
{
    const bool small = a->kind != JINJA_BIG && b->kind != JINJA_BIG;
    bool too_large = !small;
    JinjaValue result;
    if (small && !operate_integers(state, operation, integer_of(a), integer_of(b), &too_large, &result)) return false;
    if (!too_large) {
        *out = result;
        return true;
    }
    if (operation == OPERATOR_POWER && jinja_clamped(b) < 0) {
        double x, y;
        return jinja_to_double(state, a, &x) && jinja_to_double(state, b, &y) && power_of_doubles(state, x, y, out);
    }
    return jinja_big_operate(state, operation, a, b, out);
}

static double modulo_of_doubles(double a, double b)
{
    double remainder = fmod(a, b);
    if (remainder != 0) {
        if ((b < 0) != (remainder < 0)) remainder += b;
        return remainder;
    }
    return copysign(0, b);
}

static double floor_divide_doubles(double a, double b)
{
    double remainder = fmod(a, b), quotient = (a - remainder) / b;
    if (remainder != 0 && (b < 0) != (remainder < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0, a / b);
    const double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static bool power_of_doubles(JinjaState *state, double a, double b, JinjaValue *out)
{
    if (a == 0 && b < 0) return jinja_raise(state, "0.0 cannot be raised to a negative power");
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b)) {
        return jinja_raise_limit(state, "complex numbers are not supported");
    }
    const double result = pow(a, b);
    if (isinf(result) && isfinite(a) && isfinite(b)) return jinja_raise(state, "(34, 'Numerical result out of range')");
    *out = jinja_float(result);
    return true;
}

static bool operate_doubles(JinjaState *state, JinjaOperator operation, double a, double b, JinjaValue *out)
{
    double result;
    switch (operation) {
    case OPERATOR_ADD:
        result = a + b;
        break;
    case OPERATOR_SUBTRACT:
        result = a - b;
        break;
    case OPERATOR_MULTIPLY:
        result = a * b;
        break;
    case OPERATOR_DIVIDE:
        if (b == 0) return jinja_raise(state, "float division by zero");
        result = a / b;
        break;
    case OPERATOR_FLOOR_DIVIDE:
        if (b == 0) return jinja_raise(state, "float floor division by zero");
        result = floor_divide_doubles(a, b);
        break;
    case OPERATOR_MODULO:
        if (b == 0) return jinja_raise(state, "float modulo");
        result = modulo_of_doubles(a, b);
        break;
    default:
        return power_of_doubles(state, a, b, out);
    }
    *out = jinja_float(result);
    return true;
}

/* ---- sequences ---- */

/* a + b. A string that was made by concatenation and still ends its buffer grows in place: a loop that appends to a
 * namespace's text stays linear. */
static bool concatenate(JinjaState *state, const JinjaString *a, const JinjaString *b, JinjaValue *out)
{
    if (!jinja_charge_bytes(state, b->length)) return false;
    const size_t length = a->length + b->length;
    JinjaStringBuffer *buffer = a->buffer;
    const bool grows = buffer != NULL && a->data + a->length == buffer->bytes + buffer->used &&
                       buffer->capacity - buffer->used >= b->length;
    const char *data;
    if (grows) {
        memcpy(buffer->bytes + buffer->used, b->data, b->length);
        buffer->used += b->length;
        data = a->data;
    } else {
        if (!jinja_charge_bytes(state, a->length)) return false;
        const size_t capacity = buffer != NULL ? length * 2 : length + 16;
        buffer = jinja_alloc_raw(state, sizeof *buffer + capacity);
        if (buffer == NULL) return false;
        buffer->capacity = capacity;
        buffer->used = length;
        memcpy(buffer->bytes, a->data, a->length);
        memcpy(buffer->bytes + a->length, b->data, b->length);
        data = buffer->bytes;
    }
    if (!jinja_view(state, data, length, out)) return false;
    out->string->buffer = buffer;
    return true;
}

static bool add_strings(JinjaState *state, const JinjaValue *a, const JinjaValue *b, JinjaValue *out)
{
    if (a->string->markup == b->string->markup) {
        if (!concatenate(state, a->string, b->string, out)) return false;
        out->string->markup = a->string->markup;
        return true;
    }
    JinjaValue left, right;
    if (!jinja_escape(state, a, &left) || !jinja_escape(state, b, &right)) return false;
    if (!concatenate(state, left.string, right.string, out)) return false;
    out->string->markup = true;
    return true;
}

static bool add_lists(JinjaState *state, const JinjaValue *a, const JinjaValue *b, JinjaValue *out)
{
    const size_t n = a->list->n, m = b->list->n;
    if (!jinja_charge(state, n + m + 1)) return false;
    if (!(a->kind == JINJA_LIST ? jinja_list(state, n + m, out) : jinja_tuple(state, n + m, out))) return false;
    if (n > 0) memcpy(out->list->items, a->list->items, n * sizeof *out->list->items);
    if (m > 0) memcpy(out->list->items + n, b->list->items, m * sizeof *out->list->items);
    return true;
}

bool jinja_add(JinjaState *state, const JinjaValue *a, const JinjaValue *b, JinjaValue *out)
{
    if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) return add_strings(state, a, b, out);
    if (jinja_is_number(a) && jinja_is_number(b)) return jinja_operate(state, OPERATOR_ADD, a, b, out);
    if (a->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, a);
    if (b->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, b);
    if (a->kind == b->kind && (a->kind == JINJA_LIST || a->kind == JINJA_TUPLE)) return add_lists(state, a, b, out);
    const bool markup = a->kind == JINJA_STRING && a->string->markup;
    if ((a->kind == JINJA_STRING && !markup) || a->kind == JINJA_LIST || a->kind == JINJA_TUPLE) {
        const char *type = jinja_type_name(a);
        return jinja_raise(state, "can only concatenate %s (not \"%s\") to %s", type, jinja_type_name(b), type);
    }
    return raise_operands(state, OPERATOR_ADD, a, b);
}

static bool repeat_string(JinjaState *state, const JinjaString *string, int64_t count, JinjaValue *out)
{
    StrBuf *text = jinja_capture(state);
    if (text == NULL) return false;
    if (count > 0 && string->length > 0) {
        if ((uint64_t)count > SIZE_MAX / 2 / string->length ||
            !jinja_charge_bytes(state, string->length * (size_t)count)) {
            return jinja_charge_slow(state, 0);
        }
        for (int64_t i = 0; i < count && state->status == IMP_OK; i++)
            jinja_append(state, text, string->data, string->length);
    }
    if (!jinja_capture_finish(state, text, out)) return false;
    out->string->markup = string->markup;
    return true;
}

static bool repeat(JinjaState *state, const JinjaValue *sequence, const JinjaValue *times, JinjaValue *out)
{
    if (!jinja_is_integer(times)) {
        return jinja_raise(state, "can't multiply sequence by non-int of type '%s'", jinja_type_name(times));
    }
    if (times->kind == JINJA_BIG) return jinja_raise(state, "cannot fit 'int' into an index-sized integer");
    const int64_t count = integer_of(times);
    if (sequence->kind == JINJA_STRING) return repeat_string(state, sequence->string, count, out);
    const size_t n = sequence->list->n;
    size_t total = 0;
    if (count > 0 && __builtin_mul_overflow(n, (size_t)count, &total)) return jinja_charge_slow(state, 0);
    if (!jinja_charge(state, total + 1)) return false;
    if (!(sequence->kind == JINJA_LIST ? jinja_list(state, total, out) : jinja_tuple(state, total, out))) return false;
    for (size_t i = 0; i < total; i++) out->list->items[i] = sequence->list->items[i % n];
    return true;
}

/* Markup repeats itself, from either side, and refuses what is no integer in words of its own. */
static bool is_markup(const JinjaValue *value) { return value->kind == JINJA_STRING && value->string->markup; }

static bool raise_no_count(JinjaState *state, const JinjaValue *value)
{
    return jinja_raise(state, "'%s' object cannot be interpreted as an integer", jinja_type_name(value));
}

static bool is_sequence(const JinjaValue *value)
{
    return value->kind == JINJA_STRING || value->kind == JINJA_LIST || value->kind == JINJA_TUPLE;
}

bool jinja_modulo(JinjaState *state, const JinjaValue *a, const JinjaValue *b, JinjaValue *out)
{
    if (a->kind == JINJA_STRING) return jinja_percent_format(state, a->string, b, out);
    return jinja_operate(state, OPERATOR_MODULO, a, b, out);
}

bool jinja_operate(JinjaState *state, JinjaOperator operation, const JinjaValue *a, const JinjaValue *b,
                   JinjaValue *out)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        double x, y;
        if (jinja_is_integer(a) && jinja_is_integer(b)) return operate_on_integers(state, operation, a, b, out);
        return jinja_to_double(state, a, &x) && jinja_to_double(state, b, &y) &&
               operate_doubles(state, operation, x, y, out);
    }
    if (operation == OPERATOR_ADD) return jinja_add(state, a, b, out);
    if (operation == OPERATOR_MODULO && a->kind == JINJA_STRING) return jinja_modulo(state, a, b, out);
    if (operation == OPERATOR_MULTIPLY && is_markup(a) && !jinja_is_integer(b)) return raise_no_count(state, b);
    if (a->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, a);
    if (operation == OPERATOR_MULTIPLY && is_markup(b) && !jinja_is_integer(a)) return raise_no_count(state, a);
    if (b->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, b);
    if (operation == OPERATOR_MULTIPLY) {
        if (is_sequence(a)) return repeat(state, a, b, out);
        if (is_sequence(b)) return repeat(state, b, a, out);
    }
    return raise_operands(state, operation, a, b);
}

bool jinja_sign(JinjaState *state, bool negative, const JinjaValue *value, JinjaValue *out)
{
    if (value->kind == JINJA_UNDEFINED) return jinja_fail_undefined(state, value);
    if (value->kind == JINJA_FLOAT) {
        *out = jinja_float(negative ? -value->number : value->number);
        return true;
    }
    if (!jinja_is_integer(value)) {
        return jinja_raise(state, "bad operand type for unary %c: '%s'", negative ? '-' : '+', jinja_type_name(value));
    }
    if (negative && (value->kind == JINJA_BIG || integer_of(value) == INT64_MIN)) {
        return jinja_big_negate(state, value, out);
    }
    *out = value->kind == JINJA_BIG ? *value : jinja_int(negative ? -integer_of(value) : integer_of(value));
    return true;
}

bool jinja_compare(JinjaState *state, JinjaOperator operation, const JinjaValue *a, const JinjaValue *b, bool *out)
{
    static const char *const order_symbols[] = {
        [OPERATOR_LESS] = "<", [OPERATOR_LESS_EQUAL] = "<=", [OPERATOR_GREATER] = ">", [OPERATOR_GREATER_EQUAL] = ">="};
    int order;
    switch (operation) {
    case OPERATOR_EQUAL:
    case OPERATOR_NOT_EQUAL:
        *out = jinja_equal(state, a, b) == (operation == OPERATOR_EQUAL);
        return state->status == IMP_OK;
    case OPERATOR_IN:
    case OPERATOR_NOT_IN:
        if (!jinja_contains(state, b, a, out)) return false;
        if (operation == OPERATOR_NOT_IN) *out = !*out;
        return true;
    default:
        if (!jinja_order(state, a, b, order_symbols[operation], &order)) return false;
        *out = order != 2 &&
               ((operation == OPERATOR_LESS && order < 0) || (operation == OPERATOR_LESS_EQUAL && order <= 0) ||
                (operation == OPERATOR_GREATER && order > 0) || (operation == OPERATOR_GREATER_EQUAL && order >= 0));
        return true;
    }
}
