"""``gapbench export-rule``: the winners of a run as a function that chooses."""

from pathlib import Path

import click

from gapbench.cli import common, selection
from gapbench.cli.common import SHARE
from gapbench.errors import ExitCode


@click.command("export-rule")
@click.argument("run", default="latest")
@click.option("-k", "expression", metavar="EXPR", help="Only cases that match, as for run; also clock and memory.")
@click.option(
    "--max-regret", type=SHARE, default=0.03, help="Largest loss against the fastest of a case.  [default: 3%]"
)
@click.option("-o", "--output", metavar="FILE.py", type=click.Path(path_type=Path), help="File to write.")
@common.store
def command(run: str, expression: str | None, max_regret: float, output: Path | None, url: str) -> int:
    """Write a small Python function of shape, dtype and layout that chooses an implementation, from RUN (latest).

    It returns mean for what lies outside the measured sizes, and needs neither gapbench nor PyTorch. Its docstring has
    the worst regret seen, and that on shapes which were left out when it was learnt. Without -o it is printed.

    Exits with 1 if no rule keeps within --max-regret (the best one is written), with 5 if nothing was ranked.
    """
    from gapbench.analysis import rule as rules
    from gapbench.report import loaded_run, rule_file
    from gapbench.store.store import Store

    common.refuse_foreign(output, rule_file.BEGIN, "gapbench export-rule")
    store = Store(url)
    stored = loaded_run.load(store, store.resolve(run))
    described = stored.results[["suite", "case", "clock", "memory"]].itertuples(index=False)
    chosen = stored.results[[selection.keyword_match(expression, " ".join(map(str, row))) for row in described]]
    rule = rules.learn(chosen, max_regret)
    text = rule_file.source(rule, stored.run)
    if output is None:
        click.echo(text, nl=False)
    else:
        common.write_file(output, text)
    summary = f"worst regret {rule_file.percent(rule.worst)} over {rule.cases} cases"
    if rule.held_out is not None:
        summary += f", {rule_file.percent(rule.held_out)} over {rule.held_out_cases} that were left out"
    if rule.is_single:
        summary = f"always use {rule.implementations[0]}: {summary}"
    elif rule.single:
        summary += f"; always {rule.single[0]}: {rule_file.percent(rule.single[1])}"
    click.echo(f"{output}: {summary}" if output else summary, err=output is None)
    if rule.worst > max_regret:
        click.echo(f"no rule keeps within {rule_file.percent(max_regret)}; see {rule.worst_case}", err=True)
        return ExitCode.POLICY
    return ExitCode.DONE
