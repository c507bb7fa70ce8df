"""The command as a person meets it: help, and one sentence for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import typer

from sublayer.cli import main as cli


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command whose one verb raises the given error: its status, and stderr."""

    def run(error: BaseException | None) -> tuple[int, str]:
        app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

        @app.command()
        def verb() -> None:
            if error:
                raise error

        monkeypatch.setattr(cli, "app", app)
        monkeypatch.setattr(sys, "argv", ["sublayer"])
        return cli.main(), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (None, 0, ""),
        (
            ValueError("d_model 30 is not divisible by n_heads 4"),
            2,
            "d_model 30 is not divisible by n_heads 4",
        ),
        (FileNotFoundError("runs/x: no such run"), 2, "runs/x: no such run"),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/x"),
            2,
            "runs/x: Permission denied",
        ),
        (OSError(errno.ENOSPC, "runs/x: the disk is full"), 2, "runs/x: the disk is full"),
        (MemoryError("out of memory; halve batch_tokens"), 2, "out of memory; halve batch_tokens"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_a_sentence_and_a_status(run, error, status, words):
    assert run(error) == (status, f"sublayer: {words}\n" if words else "")


def test_a_mistake_of_ours_keeps_its_traceback(run):
    with pytest.raises(AssertionError, match="shapes"):
        run(AssertionError("shapes"))


def test_debugging_shows_the_traceback(run, monkeypatch):
    monkeypatch.setenv("SUBLAYER_DEBUG", "1")
    with pytest.raises(ValueError, match="d_model"):
        run(ValueError("d_model"))


def sublayer(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "sublayer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_verb_and_needs_no_torch():
    told = sublayer("--help")
    assert told.returncode == 0
    assert all(verb.__name__ in told.stdout for verb in cli.VERBS)
    loaded = "import sys, sublayer.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


@pytest.mark.parametrize("verb", [verb.__name__ for verb in cli.VERBS])
def test_help_of_a_verb_shows_an_example(verb):
    assert f"sublayer {verb} " in sublayer(verb, "--help").stdout.partition("\n")[2]


def test_version():
    assert sublayer("--version").stdout.startswith("sublayer 0.")


def test_an_unknown_verb_is_the_users_mistake():
    told = sublayer("trian")
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert "trian" in told.stderr


@pytest.mark.parametrize("given", [None, "7"])
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(given):
    environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": given} if given else {}
    code = (
        "import os, sys, sublayer.cli.main\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [given or "1000", "False"]  # before OpenMP is loaded
