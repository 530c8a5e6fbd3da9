/* clock.h - monotonic time. */
#ifndef IMP_CORE_CLOCK_H
#define IMP_CORE_CLOCK_H

/* Seconds since an arbitrary start; never goes back. */
double clock_seconds(void);

#endif
