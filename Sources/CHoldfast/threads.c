// Threads, where platforms differ in what a handle is and how a thread gets its name.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CHoldfast.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
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

void holdfast_thread_give_way(void) { sched_yield(); }

int holdfast_thread_join(uintptr_t thread) { return -pthread_join((pthread_t)thread, NULL); }

void holdfast_thread_detach(uintptr_t thread) { pthread_detach((pthread_t)thread); }

static pthread_once_t kept_once = PTHREAD_ONCE_INIT;
static pthread_key_t kept_key;
static int has_kept_key;
static void (*release_kept)(void *object);

static _Thread_local void *kept;

// Whoever asks while the thread ends must not find what is released.
static void end_kept(void *object) {
    kept = NULL;
    __atomic_load_n(&release_kept, __ATOMIC_ACQUIRE)(object);
}

static void make_kept_key(void) { has_kept_key = pthread_key_create(&kept_key, end_kept) == 0; }

void *holdfast_thread_kept(void) { return kept; }

void holdfast_thread_keep(void *object, void (*release)(void *object)) {
    __atomic_store_n(&release_kept, release, __ATOMIC_RELEASE);
    pthread_once(&kept_once, make_kept_key);
    // Without a key, or without memory for its value, the object is not released: nothing else is lost.
    if (has_kept_key) {
        pthread_setspecific(kept_key, object);
    }
    kept = object;
}

static _Thread_local void *thread_seat;

void *holdfast_thread_seat(void) { return thread_seat; }

void holdfast_set_thread_seat(void *seat) { thread_seat = seat; }
