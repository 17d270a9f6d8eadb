/* In each round a process whose threads start a program at once. So many others keep an execve under way meanwhile, which fails; or,
   with a fourth argument, wait for a child behind it that does not end (vfork(2)), which no signal but SIGKILL breaks off. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *words[] = {"true", 0};
static pthread_barrier_t all;

static void *begin(void *unused) {
    pthread_barrier_wait(&all);
    usleep(rand() % 300);
    execve("/usr/bin/true", words, environ);
    _exit(9);
}

int main(int count, char **given) {
    if (count < 4) return 2;
    int rounds = atoi(given[1]), threads = atoi(given[2]), others = atoi(given[3]), well = 0;
    pid_t crowd[200];
    if (others > 200) return 2;
    for (int n = 0; n < others; n++) {
        if ((crowd[n] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;; usleep(150000)) {
                execve("/usr/bin/true", words, (char **)8);
                if (count > 4 && vfork() == 0) {
                    sleep(40);
                    _exit(0);
                }
            }
        }
    }
    if (others) sleep(1);
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            srand(getpid());
            pthread_barrier_init(&all, 0, threads + 1);
            for (int n = 0; n < threads; n++) pthread_create(&thread, 0, begin, 0);
            pthread_barrier_wait(&all);
            for (;;) pause();
        }
        int status;
        if (waitpid(child, &status, 0) == child && status == 0) well++;
    }
    for (int n = 0; n < others; n++) kill(crowd[n], SIGKILL);
    printf("%d well\n", well);
    return 0;
}
