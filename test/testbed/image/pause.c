/* The pause container: holds a pod's namespaces and reaps what is orphaned into it. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void down(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void)
{
	signal(SIGTERM, down);
	signal(SIGINT, down);
	signal(SIGCHLD, reap);
	for (;;) pause();
}
