/*
 * imp/error.h - status codes of the public API.
 *
 * Every call that can fail returns an ImpStatus; on failure a sentence that names the file, the tensor, the field or the
 * argument waits in imp_last_error() of the calling thread until that thread's next failure.
 */
#ifndef IMP_ERROR_H
#define IMP_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define IMP_API __attribute__((visibility("default")))
#else
#define IMP_API
#endif

typedef enum ImpStatus {
    IMP_OK = 0,
    IMP_ERR_INVALID_ARGUMENT = 1, /* the caller passed something that makes no sense */
    IMP_ERR_IO = 2,               /* a file could not be opened, read or written */
    IMP_ERR_FORMAT = 3,           /* a file's or request's contents break its format */
    IMP_ERR_UNSUPPORTED = 4,      /* valid, but nothing here can run it */
    IMP_ERR_OUT_OF_MEMORY = 5,
    IMP_ERR_CONTEXT_FULL = 6,     /* the sequence does not fit the context or the pages */
    IMP_ERR_BUFFER_TOO_SMALL = 7, /* the caller's buffer; the needed length was stored */
    IMP_ERR_CANCELLED = 8,        /* a callback or the caller stopped the work */
    IMP_ERR_LIMIT = 9,            /* a stated bound on steps, depth or size was reached */
    IMP_ERR_DEVICE = 10,          /* the accelerator or its driver failed */
    IMP_ERR_INTERNAL = 11,        /* a defect in imp */
} ImpStatus;

/* The last failure of this thread as one sentence without a final newline; "" when there was none. Valid until the
 * thread's next failing call. */
IMP_API const char *imp_last_error(void);

/* A short English name for a status, such as "bad format". Never NULL. */
IMP_API const char *imp_status_name(ImpStatus status);

#ifdef __cplusplus
}
#endif
#endif
