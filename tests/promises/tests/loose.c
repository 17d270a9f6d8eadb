/* The first thread fails to start a program and waits for a child (vfork(2)), which so many others do as well; then another thread
   starts one, which takes the number of the first. None of the children ends before that does: a SIGCHLD that comes before an execve
   is looked at would have it fail with EINTR. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;
static char *words[] = {"sh", "-c", "PYTHONPATH=kept exec printenv PYTHONPATH", 0};

static void *begin(void *unused) {
    sleep(2);
    execve("/bin/sh", words, environ);
    _exit(9);
}

static void wait_behind(void) {
    execve("/bin/sh", words, (char **)8);
    if (vfork() == 0) {
        sleep(20);
        _exit(0);
    }
}

int main(int count, char **given) {
    pthread_t thread;
    for (int n = count > 1 ? atoi(given[1]) : 0; n > 0; n--) {
        if (fork() == 0) {
            wait_behind();
            _exit(0);
        }
    }
    pthread_create(&thread, 0, begin, 0);
    wait_behind();
    pause();
}
