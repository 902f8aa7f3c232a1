"""What the scripts here share: programs that are started, spoken to and interrupted, and a count of what passed."""
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNDER = os.environ.get("UNDER", "").split()
PATIENCE = 240 if UNDER else 60

os.chdir(ROOT)
os.environ["PATH"] += ":/usr/sbin"
passed = failed = 0


def check(what, holds, *seen):
    global passed, failed
    if holds:
        passed += 1
        return
    failed += 1
    print("FAILED:", what)
    for each in seen:
        print("   ", each)


def equal(what, wanted, got):
    check(what, wanted == got, f"wanted: {wanted!r}", f"got:    {got!r}")


def skip(what, why):
    print(f"SKIPPED {what}: {why}")


def have(what, command):
    """Is the command there? If not, what needs it is left out, and that is said."""
    if shutil.which(command):
        return True
    skip(what, f"there is no {command}")
    return False


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def allow_descriptors(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return True


class Program:
    """A program that runs until it is interrupted; its output has its port in it."""

    def __init__(self, *command, says=r"(\d+)"):
        # a line at a time, as at a terminal; Ctrl-C at work, as a shell's background jobs do not have it
        prefix = ["stdbuf", "-oL"] if shutil.which("stdbuf") else []
        self.process = subprocess.Popen(
            prefix + UNDER + [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        self.first_line = self.process.stdout.readline()
        found = re.search(says, self.first_line)
        self.port = int(found[1]) if found else None

    def interrupt(self):
        """Ctrl-C. Returns what it wrote after the first line, what to stderr, and its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            err += "\nit did not end"
        return out, err, self.process.returncode


def run(*command, **options):
    """The command's output, and its exit status."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, **options)
    return done.stdout, done.returncode


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="asyncio-peers-") as name:
        yield name


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def ended_by_ctrl_c(program, what):
    """As a Python program ends: the traceback of KeyboardInterrupt, killed by SIGINT."""
    out, err, status = program.interrupt()
    equal(f"{what}: the exit status after Ctrl-C", -signal.SIGINT, status)
    lines = err.splitlines()
    check(f"{what}: what it says after Ctrl-C", lines and lines[0].startswith("Traceback") and lines[-1] == "KeyboardInterrupt", err)
    check(f"{what}: nothing but that", "never" not in err and "Unhandled" not in err and "destroyed" not in err, err)
    return out
