"""Every option of every command, whatever it is given."""

import commands
import hypothesis
import pytest
import running
from hypothesis import strategies as st

EVERY = commands.every()
NAMES = [f"{' '.join(words)} {commands.option(one) or one.name}" for words, _, one in EVERY]


def test_no_command_is_passed_over():
    assert {" ".join(words) for words, _ in commands.leaves()} >= {"run", "ab", "diff", "store import", "store prune"}
    assert {"run --resume", "ab --explain", "profile --static", "store verify runs", "list what"} <= {*NAMES}


@pytest.mark.parametrize(("words", "command", "parameter"), EVERY, ids=NAMES)
@running.drawn(2, 50)
@hypothesis.given(data=st.data())
def test_a_command_line_ends_with_a_documented_exit_code(words, command, parameter, project, data):
    arguments = data.draw(commands.arguments(command, parameter))
    assert commands.option(parameter) is None or any(
        one.startswith(commands.option(parameter)) for one in arguments
    )  # every option is drawn
    with running.copy(project):
        running.run(words, arguments)


@pytest.mark.parametrize("name", ["record", "apply"])
def test_what_is_drawn_for_networks_can_succeed(name, project):
    with running.copy(project):
        assert running.run(("model", name), ["mine.py:net", "--input", "2x3x8x8"])[0] == 0
