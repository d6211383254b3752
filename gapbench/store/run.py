"""What is known of a run beside its samples and results: ``run.json`` as frozen types, validated once when it is read.

What could not be read or measured is None, and so is what an older gapbench did not write. Neither another JSON
document of a store nor a run's name is used before it has been validated here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from gapbench.errors import GapbenchError
from gapbench.repository.git import Git
from gapbench.store.ceilings import Ceiling
from gapbench.store.records import BASE, HEAD, SCHEMA, TABLES, THIS, Number, Whole

T = TypeVar("T")


class Warning(Struct, frozen=True):
    """What speaks against a run's numbers: what was looked at, what happened, and what to do (empty if nothing)."""

    topic: str = ""
    evidence: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        remedy = self.remedy[:1].upper() + self.remedy[1:]
        return " ".join(f"{one}." for one in (self.evidence, remedy) if one)


class Gpu(Struct, frozen=True, kw_only=True):
    """A GPU as NVML describes it."""

    uuid: str | None = None
    name: str | None = None
    driver: str | None = None
    cuda: str | None = None
    sm_clock_max_mhz: Number | None = None
    memory_clock_max_mhz: Number | None = None
    memory_bytes: Whole | None = None
    memory_used_bytes: Whole | None = None
    pcie_gen: Whole | None = None
    pcie_gen_max: Whole | None = None
    pcie_width: Whole | None = None
    pcie_width_max: Whole | None = None
    mig: bool | None = None
    mig_pending: bool | None = None
    ecc: bool | None = None
    ecc_pending: bool | None = None
    power_limit_w: Number | None = None
    persistence: bool | None = None
    other_processes: Whole | None = None


class Machine(Struct, frozen=True, kw_only=True):
    """A machine, and the device that is measured on it; ``unreadable`` has the reason for each field without a value.

    Cores and caches are counted as this process sees them; ``cgroup_cpus`` is how many the container may use.
    """

    cpu: str | None = None
    cores: Whole | None = None
    logical_cores: Whole | None = None
    usable_cores: Whole | None = None
    smt: bool | None = None
    governor: str | None = None
    cpu_mhz_min: Number | None = None
    cpu_mhz_max: Number | None = None
    cpu_mhz_current: Number | None = None
    cgroup_cpus: Number | None = None
    cgroup_memory_bytes: Whole | None = None
    virtualised: bool | None = None
    l2_bytes: Whole | None = None
    l3_bytes: Whole | None = None
    memory_bytes: Whole | None = None
    system: str | None = None
    device: str | None = None
    device_description: str | None = None
    device_uuid: str | None = None
    device_memory_bytes: Whole | None = None
    device_cache_bytes: Whole | None = None
    device_processors: Whole | None = None
    gpus: tuple[Gpu, ...] = ()
    unreadable: dict[str, str] = {}


class Environment(Struct, frozen=True):
    """Where code runs: a machine, and the versions of Python and of packages (None is not installed)."""

    machine: Machine = Machine()
    versions: dict[str, str | None] = {}

    def compared(self) -> dict[str, object]:
        """Return what must be equal for times to be comparable, by its name in ``--allow-environment``.

        GPU and driver count where a GPU is measured. Threads are the cores that they run on; cases say how many.
        """
        machine = self.machine
        gpu: dict[str, object] = {}
        kind, _, index = (machine.device or "cpu").partition(":")
        if kind != "cpu":
            names = [one.name for one in machine.gpus]
            name = names[int(index or 0)] if (index or "0").isdecimal() and int(index or 0) < len(names) else None
            drivers = sorted({one.driver for one in machine.gpus if one.driver})
            gpu = {"gpu": machine.device_description or name, "driver": ", ".join(drivers) or None}
        return {"cpu": machine.cpu, **gpu, "torch": self.versions.get("torch"), "threads": machine.usable_cores}


class Difference(Struct, frozen=True):
    """A fact of two environments that is not the same in both; None is not known."""

    name: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.name} is {self.after or 'unknown'}, was {self.before or 'unknown'}"


COMPARED = ("cpu", "gpu", "driver", "torch", "threads")
"""What `Environment.compared` may name."""


def differences(before: Environment, after: Environment, packages: bool = False) -> tuple[Difference, ...]:
    """Return in what two environments differ: in what is `COMPARED`, and in the versions of all ``packages`` if asked.

    What only one of them knows differs too.
    """
    old, new = before.compared(), after.compared()
    if packages:
        old, new = {**old, **before.versions}, {**new, **after.versions}
    names = sorted({*old, *new}, key=[*COMPARED, *old, *new].index)
    return tuple(Difference(one, old.get(one), new.get(one)) for one in names if old.get(one) != new.get(one))


class Side(Struct, frozen=True, omit_defaults=True):
    """One of the versions of the code that a run measured; None and empty are as the run itself says.

    ``ref`` is what it was called on the command line.
    """

    name: str
    ref: str | None = None
    git: Git | None = None
    versions: dict[str, str | None] = {}
    code: str | None = None


class FlaggedRow(Struct, frozen=True):
    """A row that seemed to have changed: from ``round`` on its rounds are fresh, ``rounds`` of them are planned.

    Runs of gapbench before 2026-11-29 do not say how many; those that are resumed take the default.
    """

    case: str
    implementation: str
    clock: str
    round: Whole
    rounds: Whole = 16


class Comparison(Struct, frozen=True):
    """What a run that compared its sides was measured for.

    ``command`` are the words after ``gapbench`` and its subcommand that name the sides.
    """

    margin: Number
    command: tuple[str, ...]
    flagged: tuple[FlaggedRow, ...] | None = None


class Settings(Struct, frozen=True, kw_only=True):
    """How long and how well a run was measured: the fields of `gapbench.measuring.plan.Effort`."""

    budget: Number | None = None
    rounds: Whole | None = None
    target: Number | None = None
    seed: Whole | None = None
    batch_seconds: Number | None = None
    patience: Number | None = None
    race: bool = True


class PlannedCase(Struct, frozen=True, kw_only=True):
    """A case that a run measures: with what ``specs`` by stored name, by which clocks, against which reference."""

    case: str
    label: str = ""
    weight: Whole = 1
    suite: str | None = None
    specs: dict[str, str] = {}
    clocks: tuple[str, ...] = ()
    reference: str | None = None
    memory: str | None = None


class EnergySource(Struct, frozen=True):
    """What counts the energy of a device; where nothing does, or not of all, there is a reason."""

    device: str | None = None
    source: str | None = None
    reason: str | None = None


class FleetDevice(Struct, frozen=True):
    """A device of a fleet that measured a part of a run, and the address of its node."""

    number: Whole | None = None
    node: str | None = None
    device: str | None = None


class Imported(Struct, frozen=True, kw_only=True):
    """Where a run comes from that was not measured into this store: a file, or the ``runs`` that are its shards."""

    file: str | None = None
    sha256: str | None = None
    run: str | None = None
    runs: tuple[str, ...] | None = None
    pytest_benchmark: str | None = None
    by: str | None = None


class Run(Struct, frozen=True, kw_only=True):
    """A run: what was asked for, where it was measured, and what became of it.

    ``started`` and ``ended`` are ISO times in UTC; a run without an end is in progress, or was interrupted. ``sides``
    are the versions of the code that it measured, one for most. ``notes`` are the warnings from before it was measured
    to its end, which are among its ``warnings``. ``load_before`` and ``load_after`` are averages over 1, 5 and 15
    minutes. ``clocks`` has in seconds what each clock found out about itself.

    One of a sweep that several runs measure has its ``sweep``, ``shard`` (as in 2/8) and the ``places`` of its cases in
    the whole plan; one that was merged has in ``parts`` what each shard's run.json said, word for word.
    """

    schema: int = SCHEMA
    id: str = field(name="run")
    started: str | None = None
    ended: str | None = None
    argv: tuple[str, ...] = ()
    tag: str | None = None
    suites: tuple[str, ...] = ()
    seed: Whole | None = None
    git: Git | None = None
    machine: Machine = Machine()
    versions: dict[str, str | None] = {}
    sides: tuple[Side, ...] = (Side(THIS),)
    comparison: Comparison | None = None
    settings: Settings = Settings()
    plan: tuple[PlannedCase, ...] | None = None
    snippets: dict[str, str] = {}
    load_before: tuple[Number, ...] | None = None
    load_after: tuple[Number, ...] | None = None
    ceilings: tuple[Ceiling, ...] | None = None
    energy: tuple[EnergySource, ...] | None = None
    clocks: dict[str, dict[str, Number | None]] = {}
    wall_seconds: Number | None = None
    timed_seconds: Number | None = None
    notes: tuple[Warning, ...] = ()
    warnings: tuple[Warning, ...] = ()
    sweep: str | None = None
    shard: str | None = None
    places: dict[str, Whole] = {}
    fleet: tuple[FleetDevice, ...] | None = None
    imported: Imported | None = None
    parts: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.is_comparison and self.comparison is None:
            raise ValueError("several sides, and no comparison of them")

    @property
    def environment(self) -> Environment:
        """Where it was measured."""
        return Environment(self.machine, self.versions)

    @property
    def is_complete(self) -> bool:
        """Whether it was measured to its end."""
        return self.ended is not None

    @property
    def is_comparison(self) -> bool:
        """Whether it measured several sides together."""
        return len(self.sides) > 1

    @property
    def commit(self) -> str | None:
        """The commit that was measured, None where there was no repository."""
        return self.git.commit if self.git else None

    def specs(self, case: str) -> dict[str, str]:
        """Return how the implementations of a case were named to the run, by stored name."""
        return next((one.specs for one in self.plan or () if one.case == case), {})


WHOLE_ID = re.compile(r"\d{8}T\d{6}Z-\w+-\w+")
"""What ids look like, as gapbench makes them."""


def is_id(name: str) -> bool:
    """Tell whether a run may have this name: one that cannot lead out of the store's folder."""
    return re.fullmatch(r"\w[\w.-]*", name) is not None


def load(text: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `ValueError` for one that is damaged, or nested without end."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def typed(document: Mapping[str, Any], kind: type[T]) -> T:
    """Return a document as a ``kind``; null is as good as missing. Raises `ValueError` that names the field."""
    try:
        return msgspec.convert(_without_nulls(document), kind)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ValueError(": ".join(filter(None, [where.strip(".`"), what]))) from error


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_nulls(one) for name, one in value.items() if one is not None}
        case list():
            return [_without_nulls(one) for one in value]
    return value


def decode(document: Mapping[str, Any]) -> Run:
    """Return a ``run.json`` of any schema that is known. Raises `ValueError` that names the field."""
    return typed(_migrated(document), Run)


def parse(run: str, text: bytes) -> Run:
    """Return what a ``run.json`` says. Raises `GapbenchError` if it is damaged, or of a schema that is not known."""
    try:
        document = load(text)
        check_schema(run, document.get("schema"), range(1, SCHEMA + 1))
        return decode(document)
    except ValueError as error:
        raise GapbenchError(f"run {run}: run.json is damaged ({error}); remove or restore it") from error


def dump(run: Run, before: bytes = b"{}") -> bytes:
    """Return the text of a ``run.json``; what only the one ``before`` it has is kept, as others may know it."""
    document = _joined(_migrated(load(before)), msgspec.to_builtins(run, order="deterministic"))
    # what was typed need not be UTF-8
    return json.dumps(document, indent=1, ensure_ascii=False).encode(errors="replace")


def _joined(old: Any, new: Any) -> Any:
    match old, new:
        case dict(), dict():
            return {**old, **{name: _joined(old.get(name), value) for name, value in new.items()}}
        case list(), list() | tuple() if len(old) == len(new):
            return [_joined(*both) for both in zip(old, new, strict=True)]
    return new


def _migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of schema 1 as one of schema 2: with sides, and warnings whose remedy is a field."""
    found = {**document, "schema": SCHEMA}
    for name in ("notes", "warnings"):
        if isinstance(found.get(name), list):
            found[name] = [_warning(one) if isinstance(one, str) else one for one in found[name]]
    match found.pop("ab", None):
        case None:
            pass
        case {"base": dict(base), "head": dict(head), **comparison}:
            found["sides"] = [{**base, "name": BASE}, {**head, "name": HEAD}]
            found["comparison"] = comparison
        case strange:
            found["sides"] = strange
    return found


def _warning(sentence: str) -> dict[str, str]:
    evidence, _, remedy = sentence.rpartition("; ")
    return {"topic": "", "evidence": evidence or remedy, "remedy": remedy if evidence else ""}


def check_schema(run: str, found: object, known: Sequence[int] = (TABLES,)) -> None:
    """Refuse a run with a file of a schema that this gapbench does not know."""
    if type(found) is not int or found not in known:
        listed = " and ".join(map(str, known))
        raise GapbenchError(
            f"run {run} has schema {found}, this gapbench reads {listed}; use the gapbench that wrote it"
        )
