/*
 * decimal.c - arithmetic on digits * 10^exponent in 128 bits. Every operation says when its result would not fit; nothing is
 * rounded, because a schema that asks for multiples of 0.01 means hundredths, not the doubles near them.
 */
#include "runtime/constraint/decimal.h"
#include "runtime/constraint/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* 10^0 … 10^38: no literal is that long, but products of two are. */
#define POWER(first, second) ((DecimalDigits)(uint64_t)1e##first * (uint64_t)1e##second)
static const DecimalDigits powers[] = {
    POWER(0, 0), POWER(1, 0), POWER(2, 0), POWER(3, 0), POWER(4, 0),
    POWER(5, 0), POWER(6, 0), POWER(7, 0), POWER(8, 0), POWER(9, 0),
    POWER(10, 0), POWER(11, 0), POWER(12, 0), POWER(13, 0), POWER(14, 0),
    POWER(15, 0), POWER(16, 0), POWER(17, 0), POWER(18, 0), POWER(19, 0),
    POWER(19, 1), POWER(19, 2), POWER(19, 3), POWER(19, 4), POWER(19, 5),
    POWER(19, 6), POWER(19, 7), POWER(19, 8), POWER(19, 9), POWER(19, 10),
    POWER(19, 11), POWER(19, 12), POWER(19, 13), POWER(19, 14), POWER(19, 15),
    POWER(19, 16), POWER(19, 17), POWER(19, 18), POWER(19, 19),
};

DecimalDigits decimal_power(int32_t power) { return powers[power]; }

int32_t decimal_digit_count(DecimalDigits digits)
{
    const uint64_t high = (uint64_t)(digits >> 64);
    const uint64_t low = (uint64_t)digits;
    if (digits == 0) return 0;
    const int32_t bits = high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll(low);
    const int32_t count = bits * 1233 >> 12; /* logarithm of 2: one too few at most */
    return count + (digits >= powers[count]);
}

Decimal decimal_normalize(Decimal value)
{
    if (value.digits == 0) return (Decimal){0};
    for (; value.digits > UINT64_MAX && value.digits % 10 == 0; value.exponent++) value.digits /= 10;
    if (value.digits > UINT64_MAX) return value;
    uint64_t digits = (uint64_t)value.digits;
    for (; digits % 10 == 0; value.exponent++) digits /= 10;
    value.digits = digits;
    return value;
}

/* Reads digits into `value`; leading zeros are free. */
static bool read_digits(const char **p, const char *end, Decimal *value, bool fraction)
{
    const char *start = *p;
    while (*p < end && is_digit(**p)) {
        if (decimal_digit_count(value->digits) >= DECIMAL_MAX_DIGITS - 1) {
            if (!fraction) value->exponent++;
        } else {
            value->digits = value->digits * 10U + (unsigned)(**p - '0');
            if (fraction) value->exponent--;
        }
        (*p)++;
    }
    return *p > start;
}

bool decimal_parse(const char *text, size_t length, Decimal *out)
{
    const char *p = text;
    const char *end = text + length;
    Decimal value = {0};
    if (p < end && *p == '-') {
        value.negative = true;
        p++;
    }
    if (!read_digits(&p, end, &value, false)) return false;
    if (p < end && *p == '.') {
        p++;
        if (!read_digits(&p, end, &value, true)) return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        bool negative = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) p++;
        int32_t exponent = 0;
        const char *digits = p;
        for (; p < end && is_digit(*p); p++) {
            exponent = exponent * 10 + (*p - '0');
            if (exponent > 100000) return false;
        }
        if (p == digits) return false;
        value.exponent += negative ? -exponent : exponent;
    }
    if (p != end) return false;
    *out = decimal_normalize(value);
    return true;
}

Decimal decimal_from_double(double number)
{
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*g", precision, number);
        if (strtod(text, NULL) == number) break;
    }
    Decimal value = {0};
    (void)decimal_parse(text, strlen(text), &value);
    return value;
}

Decimal decimal_from_integer(int64_t value)
{
    const bool negative = value < 0;
    const uint64_t magnitude = negative ? 0 - (uint64_t)value : (uint64_t)value;
    return decimal_normalize((Decimal){magnitude, 0, negative});
}

/* digits / 10^power to the nearest double: a quotient of more bits than a double has, the last of which tells that there are more. */
static double divide(DecimalDigits digits, int32_t power)
{
    const DecimalDigits divisor = decimal_power(power);
    const int room = __builtin_clzll((uint64_t)(divisor >> 64) | 1); /* bits that a remainder can be shifted by, at least */
    DecimalDigits quotient = digits / divisor;
    DecimalDigits rest = digits % divisor;
    int scale = 0;
    while (quotient < (DecimalDigits)1 << 60 && rest != 0) {
        rest <<= room;
        quotient = quotient << room | rest / divisor;
        rest %= divisor;
        scale += room;
    }
    return ldexp((double)(quotient | (rest != 0)), -scale);
}

/* The slowest of divisors still leave this much room: the loop above ends soon. */
enum { MAX_DIVISOR = 27 };

double decimal_to_double(Decimal value)
{
    /* Both are doubles themselves, so one operation rounds once. */
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (value.digits <= (DecimalDigits)1 << 53 && value.exponent >= -22 && value.exponent <= 22) {
        const double number = value.negative ? -(double)(uint64_t)value.digits : (double)(uint64_t)value.digits;
        return value.exponent < 0 ? number / exact[-value.exponent] : number * exact[value.exponent];
    }
    if (value.exponent >= 0 && decimal_digit_count(value.digits) + value.exponent <= DECIMAL_MAX_DIGITS) {
        const double number = (double)(value.digits * decimal_power(value.exponent));
        return value.negative ? -number : number;
    }
    if (value.exponent < 0 && value.exponent >= -MAX_DIVISOR)
        return value.negative ? -divide(value.digits, -value.exponent) : divide(value.digits, -value.exponent);
    char digits[48];
    size_t at = sizeof digits;
    DecimalDigits rest = value.digits;
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest != 0);
    char text[80];
    (void)snprintf(text, sizeof text, "%s%se%d", value.negative ? "-" : "", digits + at, (int)value.exponent);
    return strtod(text, NULL);
}

uint64_t decimal_hash(Decimal normalized)
{
    const uint64_t scale = hash_mix(1, (uint64_t)(normalized.exponent * 2 + normalized.negative));
    return hash_mix(hash_mix(scale, (uint64_t)normalized.digits), (uint64_t)(normalized.digits >> 64));
}

int decimal_compare(Decimal a, Decimal b)
{
    if (a.digits == 0 && b.digits == 0) return 0;
    if (a.digits == 0) return b.negative ? 1 : -1;
    if (b.digits == 0) return a.negative ? -1 : 1;
    if (a.negative != b.negative) return a.negative ? -1 : 1;
    const int sign = a.negative ? -1 : 1;
    const int64_t size_a = (int64_t)decimal_digit_count(a.digits) + a.exponent;
    const int64_t size_b = (int64_t)decimal_digit_count(b.digits) + b.exponent;
    if (size_a != size_b) return size_a < size_b ? -sign : sign;
    /* The same magnitude: the difference of exponents is the difference of digit counts, at most 38. */
    if (a.exponent > b.exponent) a.digits *= decimal_power(a.exponent - b.exponent);
    if (b.exponent > a.exponent) b.digits *= decimal_power(b.exponent - a.exponent);
    if (a.digits == b.digits) return 0;
    return a.digits < b.digits ? -sign : sign;
}

bool decimal_is_integer(Decimal value) { return decimal_normalize(value).exponent >= 0; }

/* 10^19 is the largest power that 64 bits hold. */
enum { MAX_SHORT_SHIFT = 19 };

bool decimal_is_multiple(Decimal value, Decimal step)
{
    if (value.digits == 0 || (step.digits == 1 && value.exponent >= step.exponent)) return true;
    if (value.digits <= UINT64_MAX && value.exponent < step.exponent && step.exponent - value.exponent <= MAX_SHORT_SHIFT) {
        const uint64_t power = (uint64_t)decimal_power(step.exponent - value.exponent);
        const uint64_t digits = (uint64_t)value.digits;
        return digits % power == 0 && digits / power % (uint64_t)step.digits == 0;
    }
    value = decimal_normalize(value);
    const int32_t shift = value.exponent - step.exponent;
    if (shift < 0) {
        if (-shift + decimal_digit_count(step.digits) > DECIMAL_MAX_DIGITS) return false;
        return value.digits % (step.digits * decimal_power(-shift)) == 0;
    }
    DecimalDigits rest = value.digits % step.digits;
    for (int32_t i = 0; i < shift && rest != 0; i++) rest = rest * 10 % step.digits;
    return rest == 0;
}

/* The smallest multiple above a value that is none, where 64 bits are enough; false where they are not. */
static bool short_ceil_multiple(Decimal value, Decimal step, Decimal *out)
{
    const int32_t shift = step.exponent - value.exponent;
    if (shift < 0 || shift > MAX_SHORT_SHIFT || value.digits > INT64_MAX) return false;
    const DecimalDigits unit = step.digits * decimal_power(shift);
    if (unit > INT64_MAX) return false;
    uint64_t digits = (uint64_t)value.digits - (uint64_t)value.digits % (uint64_t)unit;
    if (!value.negative) digits += (uint64_t)unit;
    *out = decimal_normalize((Decimal){digits, value.exponent, value.negative && digits != 0});
    return true;
}

/* Both to the smaller exponent; false when that overflows. */
static bool align(Decimal *a, Decimal *b)
{
    Decimal *high = a->exponent > b->exponent ? a : b;
    const Decimal *low = high == a ? b : a;
    if (high->digits == 0) {
        high->exponent = low->exponent;
        return true;
    }
    const int32_t shift = high->exponent - low->exponent;
    if (shift + decimal_digit_count(high->digits) > DECIMAL_MAX_DIGITS) return false;
    high->digits *= decimal_power(shift);
    high->exponent = low->exponent;
    return true;
}

bool decimal_ceil_multiple(Decimal value, Decimal step, Decimal *out)
{
    if (decimal_is_multiple(value, step)) {
        *out = value;
        return true;
    }
    if (step.exponent > value.exponent &&
        step.exponent - value.exponent + decimal_digit_count(step.digits) > DECIMAL_MAX_DIGITS) {
        /* So small beside the step that the next multiple is 0 or the step. */
        *out = value.negative ? (Decimal){0} : step;
        return true;
    }
    if (short_ceil_multiple(value, step, out)) return true;
    if (!align(&value, &step)) return false;
    const DecimalDigits rest = value.digits % step.digits;
    DecimalDigits digits = value.digits - rest;
    if (!value.negative) digits += step.digits;
    if (decimal_digit_count(digits) > DECIMAL_MAX_DIGITS) return false;
    *out = decimal_normalize((Decimal){digits, value.exponent, value.negative && digits != 0});
    return true;
}

bool decimal_add(Decimal a, Decimal b, Decimal *out)
{
    if (!align(&a, &b)) return false;
    Decimal sum = {0, a.exponent, a.negative};
    if (a.negative == b.negative) {
        sum.digits = a.digits + b.digits;
    } else if (a.digits >= b.digits) {
        sum.digits = a.digits - b.digits;
    } else {
        sum.digits = b.digits - a.digits;
        sum.negative = b.negative;
    }
    if (decimal_digit_count(sum.digits) > DECIMAL_MAX_DIGITS) return false;
    *out = decimal_normalize(sum);
    return true;
}

bool decimal_common_multiple(Decimal a, Decimal b, Decimal *out)
{
    if (!align(&a, &b)) return false;
    DecimalDigits x = a.digits;
    DecimalDigits y = b.digits;
    while (y != 0) {
        const DecimalDigits rest = x % y;
        x = y;
        y = rest;
    }
    const DecimalDigits quotient = a.digits / x;
    if (decimal_digit_count(quotient) + decimal_digit_count(b.digits) > DECIMAL_MAX_DIGITS) return false;
    *out = decimal_normalize((Decimal){quotient * b.digits, a.exponent, false});
    return decimal_digit_count(out->digits) <= 18;
}
