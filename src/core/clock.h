/* clock.h - monotonic time, and processor time. */
#ifndef IMP_CORE_CLOCK_H
#define IMP_CORE_CLOCK_H

/* Seconds since an arbitrary start; never goes back. */
double clock_seconds(void);

/* Seconds that this process has kept processors busy, all threads together. */
double clock_processor_seconds(void);

/* Seconds that the calling thread has kept a processor busy. */
double clock_thread_seconds(void);

#endif
