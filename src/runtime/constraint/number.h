/*
 * number.h - a JSON number while it is being written, and what it can still become under a number shape.
 *
 * Numbers have at most 36 digits, 24 of them behind the point, integers without a bound 40, and are doubles that are finite and not 0
 * for something smaller: every way in which programs print doubles and 128-bit integers, and more. Multiples with a point have 20 digits
 * unless they are below 10.
 */
#ifndef IMP_RUNTIME_CONSTRAINT_NUMBER_H
#define IMP_RUNTIME_CONSTRAINT_NUMBER_H

#include "runtime/constraint/shape.h"

typedef enum NumberPhase {
    NUMBER_START,
    NUMBER_MINUS,
    NUMBER_ZERO,    /* the part before the point is 0 */
    NUMBER_DIGITS,  /* before the point */
    NUMBER_POINT,
    NUMBER_DECIMALS,
    NUMBER_E,
    NUMBER_E_SIGN,
    NUMBER_EXPONENT,
} NumberPhase;

/* Zero-initialize to start. */
typedef struct NumberText {
    DecimalDigits digits; /* before and behind the point */
    int16_t n_digits, n_decimals, exponent, n_exponent; /* digits before the point, behind it; |exponent| and its digits */
    uint8_t phase;
    bool negative, exponent_negative;
} NumberText;

/* Appends a byte; false when no JSON number (of bounded length) goes on so. */
bool number_put(NumberText *text, unsigned char byte);
/* The text is a number that the shape holds. */
bool number_complete(const NumberShape *shape, const NumberText *text);
/* The value of a text that is a number. */
Decimal number_value(const NumberText *text);
/* False where the value cannot be written so: its digits begin with others. */
bool number_resembles(const NumberText *text, Decimal value);
/* How many of them begin with the text, at least: of integers between bounds and of listed values all are counted. */
uint32_t number_ways(const NumberShape *shape, const NumberText *text);
/* More than `n` of them begin with the text, as far as that is easy to see. */
bool number_has_more(const NumberShape *shape, const NumberText *text, size_t n);
/* The text is the beginning of one. */
bool number_live(const NumberShape *shape, const NumberText *text);

#endif
