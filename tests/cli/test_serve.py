"""What `mvit serve` refuses before it listens."""

import inspect
import socket
import subprocess
import sys

import pytest

from exports import write_run
from mvit.analysis.budget import in_bytes
from mvit.commandline import seconds
from mvit.serve import serve
from mvit.serving.bounds import Bounds


@pytest.fixture(autouse=True)
def _needed(library) -> None:
    for module in ("granian", "starlette"):
        library(module, "serve")


def test_what_is_bounded_unless_given_is_what_the_help_says():
    """The command names them itself, so that asking for help imports nothing."""
    given = {name: parameter.default for name, parameter in inspect.signature(serve).parameters.items()}
    assert Bounds() == Bounds(
        bytes=in_bytes(given["max_bytes"]),
        seconds=seconds(given["max_seconds"]),
        pixels=given["max_pixels"],
        frames=given["max_frames"],
        queue=given["queue"],
    )


def test_a_port_that_is_taken(refused, run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = refused("serve", run, "--port", port)
    assert f"127.0.0.1 port {port} cannot be had: address already in use; give another --host or --port" in sentence


def test_an_address_that_is_not_of_this_machine(refused, run):
    assert "192.0.2.1 port 0 cannot be had" in refused("serve", run, "--host", "192.0.2.1", "--port", 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", 70_000), "--port is 70000: it is 0 (any that is free) to 65535"),
        (("--queue", 0), "--queue is 0"),
        (("--max-bytes", "much"), "'much' is no number of bytes"),
        (("--max-seconds", "0s"), "--max-seconds is 0.0: it is above 0"),
        (("--max-pixels", 0), "--max-pixels is 0"),
        (("--max-frames", -1), "--max-frames is -1"),
    ],
)
def test_bounds_that_are_none(options, words, refused, run):
    assert words in refused("serve", run, *options)


def test_a_model_that_is_not_there(refused, tmp_path):
    assert str(tmp_path / "gone") in refused("serve", tmp_path / "gone", "--port", 0)
    (tmp_path / "model.pt2").write_bytes(b"")
    assert "opening one executes what is in it" in refused("serve", tmp_path / "model.pt2", "--port", 0)


def test_a_class_that_cannot_be_said(refused, tmp_path):
    run = write_run(tmp_path / "run")
    description = run / "model.json"
    description.write_text(description.read_text().replace('"up"', r'"\udc80"'))
    assert r"the class '\udc80' is no UTF-8" in refused("serve", run, "--port", 0)


def test_a_model_that_has_diverged(refused, tmp_path):
    run = write_run(tmp_path / "run", lead=float("nan"))
    assert "scores that are not finite numbers" in refused("serve", run, "--port", 0)


def test_without_what_the_extra_brings(run):
    hide = "import sys; sys.modules['granian'] = None; from mvit.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", hide, "serve", str(run)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr == "mvit: serving needs granian: pip install 'mvit[serve]'\n"
