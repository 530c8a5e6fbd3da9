/*
 * watch.h - how long a connection may take to say what it wants. HTTP's own idle limit starts anew with every byte;
 * these deadlines do not, so that requests sent a byte at a time, or never finished, do not hold a thread for ever.
 */
#ifndef IMP_SERVER_WATCH_H
#define IMP_SERVER_WATCH_H

#include <pthread.h>

typedef struct Watched Watched;

typedef struct Watch {
    pthread_mutex_t mutex;
    Watched *first;
} Watch;

void watch_init(Watch *watch);
/* Every connection has been closed. */
void watch_free(Watch *watch);

/* A connection with its socket; NULL without memory, and nothing is watched then. */
Watched *watch_open(Watch *watch, int socket_fd, double seconds);
/* Before the socket is closed. */
void watch_close(Watch *watch, Watched *watched);
/* From now on it may take so many seconds; 0: for ever. */
void watch_allow(Watch *watch, Watched *watched, double seconds);

/* Nobody who has a deadline may take longer than so many seconds more. */
void watch_hurry(Watch *watch, double seconds);
/* Shuts down the sockets whose time is over. */
void watch_cut(Watch *watch);

#endif
