"""Each fault of Keras on the page is there: one that fails here has been fixed."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent / "benchmarks" / "upstream.md"
HEAD, *PARTS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def code(text: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.partition("\n")[0])
def test_the_fault_is_there(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "assert " in code(part)
    assert "\nWorkaround: " in part
    exec(compile(code(HEAD) + code(part), part.partition("\n")[0], "exec"), {})
