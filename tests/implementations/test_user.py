import sys

import pytest
import torch

from gapbench.errors import GapbenchError
from gapbench.implementations import user
from gapbench.workloads import oracle
from gapbench.workloads.cases import Case

X = torch.ones(2, 3, 4, 4)


@pytest.fixture
def written(tmp_path):
    """Return a function that writes files by name into a folder of their own, and names a function of mine.py."""

    def write(function="pool", **files):
        for name, content in files.items():
            (tmp_path / f"{name}.py").write_text(content)
        return f"{tmp_path}/mine.py:{function}"

    return write


def test_a_file_may_import_what_lies_beside_it_at_any_time(written, monkeypatch):
    early, late = "import beside_early\n", "def pool(x):\n    import beside_late\n    return beside_late.pool(x)\n"
    function = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"
    spec = written(mine=early + late, beside_early="", beside_late=function)
    assert user.load(spec).prepare(None)(X).shape == (2, 3, 1, 1)
    for name in ("beside_early", "beside_late"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("source", "has"),
    [
        ("def pool(x): ...", True),
        ("from elsewhere import pool", True),
        ("from elsewhere import *", True),
        ("globals()[name] = make()", True),
        ("def pools(x): ...", False),
        ("", False),
    ],
)
def test_whether_a_file_may_define_a_function_is_told_without_running_it(written, source, has):
    spec = written(mine=f"{source}\nraise SystemExit\n")
    assert user.mentions(spec) is has
    assert not user.mentions(spec.replace("mine.py", "nosuch.py"))


MODULES = """
import torch

class Pool(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
    def forward(self, x):
        return x.mean((2, 3), keepdim=True) * self.weight

module = Pool()
scripted = torch.jit.script(Pool())
"""


@pytest.mark.parametrize("name", ["module", "scripted"])
@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_an_instance_of_a_module_competes(written, name, pass_):
    case = Case((2, 3, 4, 4), pass_=pass_)
    own = user.load(written(name, mine=MODULES))
    assert own.summary
    assert oracle.examine(case, own.prepare(case), 0, own.truth).reason is None


def test_a_class_is_told_what_to_name_instead(written):
    with pytest.raises(
        user.BrokenImplementationError, match=r"Pool of mine.py is a class; name an instance: my_gap = P"
    ):
        user.load(written("Pool", mine=MODULES))


def test_a_file_that_is_not_there_is_told_by_its_name(written):
    with pytest.raises(user.BrokenImplementationError, match=r"^there is no file 'mine.py' here$"):
        user.load(written())
    with pytest.raises(GapbenchError, match="there is no file"):
        user.parse("nosuch.py:pool")
