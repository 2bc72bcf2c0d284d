// Threads, where platforms differ in what a handle is and how a thread gets its name.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CHoldfast.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

int holdfast_thread_start(uintptr_t *thread, size_t stack_bytes, void *(*body)(void *argument), void *argument) {
    // A thread inherits the mask of the one that starts it. Faults keep their signals, because one that is raised
    // while blocked kills the process past its handlers; SIGPROF stays for profilers.
    static const int kept[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        sigdelset(&blocked, kept[i]);
    }
    pthread_attr_t attributes;
    int result = pthread_attr_init(&attributes);
    if (result != 0) {
        return -result;
    }
    pthread_t handle;
    result = pthread_attr_setstacksize(&attributes, stack_bytes);
    if (result == 0) {
        pthread_sigmask(SIG_BLOCK, &blocked, &before);
        result = pthread_create(&handle, &attributes, body, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    if (result == 0) {
        *thread = (uintptr_t)handle;
    }
    return -result;
}

void holdfast_thread_set_name(const char *name) {
#if defined(__APPLE__)
    pthread_setname_np(name);
#else
    char cut[16];
    size_t count = strlen(name) < sizeof(cut) - 1 ? strlen(name) : sizeof(cut) - 1;
    memcpy(cut, name, count);
    cut[count] = 0;
    pthread_setname_np(pthread_self(), cut);
#endif
}

int holdfast_thread_join(uintptr_t thread) { return -pthread_join((pthread_t)thread, NULL); }

void holdfast_thread_detach(uintptr_t thread) { pthread_detach((pthread_t)thread); }

static _Thread_local void *thread_seat;

void *holdfast_thread_seat(void) { return thread_seat; }

void holdfast_set_thread_seat(void *seat) { thread_seat = seat; }
