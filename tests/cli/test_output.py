"""Where progress goes, and when."""

import io
import sys

import pytest

from keras_padsafe.cli.output import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Writing", as_json=False) as progress:
        assert progress is not None
        progress(500_000, 1_000_000)
    assert "Writing" in terminal.getvalue()
    assert "0.5/1.0 MB" in terminal.getvalue()


def test_no_bar_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, as_json in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_bar("Writing", as_json=as_json) as progress:
            assert progress is None
        assert stream.getvalue() == ""
