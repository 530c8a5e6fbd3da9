/*
 * status.h - how failures travel inside imp: a code up the stack, a sentence in the thread's error slot.
 */
#ifndef IMP_CORE_STATUS_H
#define IMP_CORE_STATUS_H

#include "imp/error.h"

#include <stddef.h>

#define IMP_PRINTF(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))

/* Stores the sentence for imp_last_error() and returns `code`, so that a failing function ends in `return imp_fail(…)`.
 * Sentences over 1 KiB are cut at a character border; control characters in them are replaced, because they quote
 * files. */
ImpStatus imp_fail(ImpStatus code, const char *format, ...) IMP_PRINTF(2, 3);

/* Puts "prefix: " in front of the waiting sentence and returns `code`: adds the file's name to what a parser said. */
ImpStatus imp_fail_prefix(ImpStatus code, const char *format, ...) IMP_PRINTF(2, 3);

/* The one failure that many places share. Returns IMP_ERR_OUT_OF_MEMORY. */
ImpStatus imp_fail_memory(size_t bytes);

#define IMP_TRY(expression)                                                                                            \
    do {                                                                                                               \
        const ImpStatus imp_try_status = (expression);                                                                 \
        if (imp_try_status != IMP_OK) return imp_try_status;                                                           \
    } while (0)

/* As IMP_TRY for functions with a local `ImpStatus status` and a `fail:` label that cleans up. */
#define IMP_GOTO(expression)                                                                                           \
    do {                                                                                                               \
        status = (expression);                                                                                         \
        if (status != IMP_OK) goto fail;                                                                               \
    } while (0)

#endif
