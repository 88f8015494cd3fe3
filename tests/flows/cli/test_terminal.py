import os
import pty
import subprocess
import sys

SAYS = (
    "from flows.cli.terminal import say;"
    " say('no rank of this run has written a result, because the folder /a/path/that/has/no/end/1/2/3/4/5 is absent')"
)


def test_sentence_on_a_terminal_is_broken_between_words_only():
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", SAYS], stdout=theirs, env={**os.environ, "COLUMNS": "40", "TERM": "xterm"}, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 4096).decode().splitlines()
    os.close(ours)
    assert len(shown) > 2
    assert any("/a/path/that/has/no/end/1/2/3/4/5" in line for line in shown)
    assert all(len(line) <= 40 for line in shown)


def test_sentence_elsewhere_is_one_line():
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
