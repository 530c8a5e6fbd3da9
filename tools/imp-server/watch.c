/* watch.c - a list of sockets with deadlines, looked through once a second. */
#include "watch.h"

#include "server.h"

#include <stdlib.h>
#include <sys/socket.h>

struct Watched {
    Watched *previous, *next;
    int socket_fd;
    double deadline; /* 0: none */
};

void watch_init(Watch *watch)
{
    watch->first = NULL;
    (void)pthread_mutex_init(&watch->mutex, NULL);
}

void watch_free(Watch *watch) { (void)pthread_mutex_destroy(&watch->mutex); }

Watched *watch_open(Watch *watch, int socket_fd, double seconds)
{
    Watched *watched = calloc(1, sizeof *watched);
    if (watched == NULL) return NULL;
    watched->socket_fd = socket_fd;
    watched->deadline = now_seconds() + seconds;
    (void)pthread_mutex_lock(&watch->mutex);
    watched->next = watch->first;
    if (watch->first != NULL) watch->first->previous = watched;
    watch->first = watched;
    (void)pthread_mutex_unlock(&watch->mutex);
    return watched;
}

void watch_close(Watch *watch, Watched *watched)
{
    if (watched == NULL) return;
    (void)pthread_mutex_lock(&watch->mutex);
    if (watched->next != NULL) watched->next->previous = watched->previous;
    if (watched->previous != NULL)
        watched->previous->next = watched->next;
    else
        watch->first = watched->next;
    (void)pthread_mutex_unlock(&watch->mutex);
    free(watched);
}

void watch_allow(Watch *watch, Watched *watched, double seconds)
{
    if (watched == NULL) return;
    (void)pthread_mutex_lock(&watch->mutex);
    watched->deadline = seconds > 0 ? now_seconds() + seconds : 0;
    (void)pthread_mutex_unlock(&watch->mutex);
}

void watch_hurry(Watch *watch, double seconds)
{
    const double latest = now_seconds() + seconds;
    (void)pthread_mutex_lock(&watch->mutex);
    for (Watched *watched = watch->first; watched != NULL; watched = watched->next)
        if (watched->deadline > latest) watched->deadline = latest;
    (void)pthread_mutex_unlock(&watch->mutex);
}

void watch_cut(Watch *watch)
{
    const double now = now_seconds();
    (void)pthread_mutex_lock(&watch->mutex);
    for (Watched *watched = watch->first; watched != NULL; watched = watched->next) {
        if (watched->deadline == 0 || watched->deadline > now) continue;
        (void)shutdown(watched->socket_fd, SHUT_RDWR);
        watched->deadline = 0;
    }
    (void)pthread_mutex_unlock(&watch->mutex);
}
