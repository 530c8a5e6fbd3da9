/*
 * decimal.h - exact decimal numbers of up to 38 digits: the bounds, steps and constants of a schema, and the value of a JSON
 * number while it is being written. No rounding happens here.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_DECIMAL_H
#define IMP_RUNTIME_CONSTRAINT_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 DecimalDigits;

enum { DECIMAL_MAX_DIGITS = 38 };

/* (-1)^negative * digits * 10^exponent. Zero is never negative. */
typedef struct Decimal {
    DecimalDigits digits;
    int32_t exponent;
    bool negative;
} Decimal;

/* Reads a JSON number, of which 37 digits count; false when it is none or has an exponent beyond ±100000. */
bool decimal_parse(const char *text, size_t length, Decimal *out);
/* The shortest decimal that reads back as `value` (finite). */
Decimal decimal_from_double(double value);
Decimal decimal_from_integer(int64_t value);
/* Correctly rounded; ±infinity beyond the range. */
double decimal_to_double(Decimal value);

/* 10^power for 0 <= power <= 38. */
DecimalDigits decimal_power(int32_t power);
int32_t decimal_digit_count(DecimalDigits digits);
/* Without trailing zeros: equal values have equal fields. */
Decimal decimal_normalize(Decimal value);
/* Of what decimal_normalize returns: equal values have equal hashes. Each part is mixed in by itself: 7 with the exponent 1 is not 1 with
 * the exponent 2. */
uint64_t decimal_hash(Decimal normalized);
/* -1, 0, 1. */
int decimal_compare(Decimal a, Decimal b);
bool decimal_is_integer(Decimal value);
/* value / step is an integer. step > 0 with at most 18 significant digits. */
bool decimal_is_multiple(Decimal value, Decimal step);
/* The smallest multiple of `step` that is >= value; false when it does not fit 38 digits. */
bool decimal_ceil_multiple(Decimal value, Decimal step, Decimal *out);
/* a + b, exact; false when it does not fit 38 digits. */
bool decimal_add(Decimal a, Decimal b, Decimal *out);
/* The least common multiple of two steps; false when it has more than 18 digits. */
bool decimal_common_multiple(Decimal a, Decimal b, Decimal *out);

#endif
