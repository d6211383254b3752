"""``run.json`` as frozen types: everything about a run beside its samples and results, validated when it is read.

A value that could not be read or measured, or that an older gapbench did not write, is None. Other JSON documents of a
store and names of runs are validated here too, before anything uses them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from gapbench.errors import GapbenchError
from gapbench.repository.git import Git
from gapbench.store.ceilings import Ceiling
from gapbench.store.records import BAD, BASE, HEAD, SCHEMA, TABLES, THIS, Number, Whole

T = TypeVar("T")


class Warning(Struct, frozen=True):
    """A reason to doubt a run's numbers: what it is about, what happened, and what to do (empty if nothing)."""

    topic: str = ""
    evidence: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        remedy = self.remedy[:1].upper() + self.remedy[1:]
        return " ".join(f"{sentence}." for sentence in (self.evidence, remedy) if sentence)


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
    compute_mode: str | None = None
    display: bool | None = None
    other_processes: Whole | None = None


class Machine(Struct, frozen=True, kw_only=True):
    """A machine, as far as the measuring process may use it, and its device; ``unreadable`` has reasons for None."""

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

    def description(self, device: str) -> str | None:
        """Return the hardware's name of a device of this machine, None where it is unknown."""
        if device == self.device and self.device_description:
            return self.device_description
        kind, _, index = device.partition(":")
        gpus = {str(number): gpu.name for number, gpu in enumerate(self.gpus)}
        return self.cpu if kind == "cpu" else gpus.get(index or "0")


class Environment(Struct, frozen=True):
    """A machine, and the versions of Python and of packages on it (None: not installed)."""

    machine: Machine = Machine()
    versions: dict[str, str | None] = {}

    def compared(self) -> dict[str, object]:
        """Return the facts that must agree before times are compared, by their names in ``--allow-environment``.

        GPU and driver are among them where a GPU is measured. ``threads`` is the number of usable cores: how many
        threads run is part of each case.
        """
        machine = self.machine
        gpu: dict[str, object] = {}
        if (machine.device or "cpu").partition(":")[0] != "cpu":
            drivers = sorted({each.driver for each in machine.gpus if each.driver})
            gpu = {"gpu": machine.description(str(machine.device)), "driver": ", ".join(drivers) or None}
        return {"cpu": machine.cpu, **gpu, "torch": self.versions.get("torch"), "threads": machine.usable_cores}


class Difference(Struct, frozen=True):
    """A fact that two environments do not share; None means unknown."""

    name: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.name} is {self.after or 'unknown'}, was {self.before or 'unknown'}"


COMPARED = ("cpu", "gpu", "driver", "torch", "threads")


def differences(before: Environment, after: Environment, packages: bool = False) -> tuple[Difference, ...]:
    """Return differing `COMPARED` facts, with ``packages`` all versions too; what only one of them knows differs."""
    old, new = before.compared(), after.compared()
    if packages:
        old, new = {**old, **before.versions}, {**new, **after.versions}
    names = sorted({*old, *new}, key=[*COMPARED, *old, *new].index)
    return tuple(Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name))


class Side(Struct, frozen=True, omit_defaults=True):
    """A version of the code, ``ref`` on the command line; where a field is None or empty, the run's own applies."""

    name: str
    ref: str | None = None
    git: Git | None = None
    versions: dict[str, str | None] = {}
    code: str | None = None


class FlaggedRow(Struct, frozen=True):
    """A row that seemed to change: ``rounds`` rounds from ``round`` on are measured to confirm it.

    The plan is fixed before the first of them is measured, and survives an interruption: a new one would be biased.
    """

    case: str
    implementation: str
    clock: str
    round: Whole
    rounds: Whole = 16

    @property
    def key(self) -> tuple[str, str, str]:
        """The case, implementation and clock."""
        return self.case, self.implementation, self.clock


class Comparison(Struct, frozen=True):
    """The question of a run that compared its sides, which ``command``, the words after ``gapbench KIND``, names.

    ``ab`` compares head with base, ``matrix`` every side with the one before it; ``bisect`` head with both ends.
    """

    margin: Number
    command: tuple[str, ...]
    flagged: tuple[FlaggedRow, ...] | None = None
    kind: Literal["ab", "matrix", "bisect"] = "ab"


class Settings(Struct, frozen=True, kw_only=True):
    """Duration and precision of a run: the fields of `gapbench.measuring.plan.Effort`."""

    budget: Number | None = None
    rounds: Whole | None = None
    target: Number | None = None
    seed: Whole | None = None
    batch_seconds: Number | None = None
    patience: Number | None = None
    race: bool = True


class PlannedCase(Struct, frozen=True, kw_only=True):
    """A case of a run's plan, its implementations as ``specs`` by stored name, its clocks and its reference."""

    case: str
    label: str = ""
    weight: Whole = 1
    suite: str | None = None
    specs: dict[str, str] = {}
    clocks: tuple[str, ...] = ()
    reference: str | None = None
    memory: str | None = None


class FleetDevice(Struct, frozen=True):
    """A device of a fleet that measured part of a run, and the address of its node."""

    number: Whole | None = None
    node: str | None = None
    device: str | None = None


class Imported(Struct, frozen=True, kw_only=True):
    """The origin of a run that was not measured into this store: a file, or the ``runs`` that are its shards."""

    file: str | None = None
    sha256: str | None = None
    run: str | None = None
    runs: tuple[str, ...] | None = None
    pytest_benchmark: str | None = None
    by: str | None = None


class PooledSite(Struct, frozen=True, kw_only=True):
    """A place of a network that pools: how often a pass calls it, and the ``implementation`` that replaces it, if any.

    ``own`` is what it is now; ``ratio`` is to that. ``share`` is that of all calls of its case in the pass's time.
    """

    case: str
    module: str
    source: str | None = None
    spelling: str = ""
    count: Whole = 1
    share: Number | None = None
    own: str | None = None
    implementation: str | None = None
    ratio: Number | None = None
    ratio_low: Number | None = None
    ratio_high: Number | None = None


class PatchedNetwork(Struct, frozen=True, kw_only=True):
    """The network whose patch a run measured; ``run`` measured its pooling, ``totals`` are seconds a pass by choice."""

    target: str
    run: str | None = None
    sites: tuple[PooledSite, ...] = ()
    totals: dict[str, Number] = {}


class Run(Struct, frozen=True, kw_only=True):
    """A run: what was asked for, where it was measured, and how it went.

    ``started`` and ``ended`` are ISO times in UTC; a run without an end is in progress or was interrupted. ``sides``
    are the versions of the code that it measured, one for most. ``notes`` are warnings raised before its end, which
    are among its ``warnings``. ``load_before`` and ``load_after`` are averages over 1, 5 and 15 minutes. ``clocks``
    holds the seconds that each clock measured about itself, such as its floor.

    A run that is one shard of a sweep has ``sweep``, ``shard`` (as in 2/8) and ``places``, the positions of its cases
    in the whole plan; a merged run keeps in ``parts`` the run.json of each shard, unchanged.
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
    network: PatchedNetwork | None = None
    parts: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.is_comparison and self.comparison is None:
            raise ValueError("it has several sides and no comparison of them")
        names = [side.name for side in self.sides]
        fixed = {"ab": [BASE, HEAD], "bisect": [BASE, HEAD, BAD]}.get(self.comparison.kind if self.comparison else "")
        if len({*names}) < len(names) or (self.is_comparison and fixed not in (None, names)):
            raise ValueError("its sides do not have the names of its comparison")

    @property
    def environment(self) -> Environment:
        """The machine and versions of the run."""
        return Environment(self.machine, self.versions)

    @property
    def is_complete(self) -> bool:
        """Whether the run was measured to its end."""
        return self.ended is not None

    @property
    def is_comparison(self) -> bool:
        """Whether the run measured several sides together."""
        return len(self.sides) > 1

    @property
    def is_matrix(self) -> bool:
        """Whether the run compared each of its sides with the one before it."""
        return self.is_comparison and self.comparison is not None and self.comparison.kind == "matrix"

    @property
    def commit(self) -> str | None:
        """The commit that was measured; None outside a repository."""
        return self.git.commit if self.git else None

    def specs(self, case: str) -> dict[str, str]:
        """Return the specs of a case's implementations, by stored name."""
        return next((planned.specs for planned in self.plan or () if planned.case == case), {})


WHOLE_ID = re.compile(r"\d{8}T\d{6}Z-\w+-\w+")  # the form of the ids that gapbench makes


def is_id(name: str) -> bool:
    """Tell whether a run may have this name, which then cannot lead out of the store's folder."""
    return re.fullmatch(r"\w[\w.-]*", name) is not None


def load(text: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises `ValueError` for one that is damaged or nested too deeply."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def typed(document: Mapping[str, Any], kind: type[T]) -> T:
    """Convert a document to a ``kind``, with null as good as missing. Raises `ValueError` that names the field."""
    try:
        return msgspec.convert(_without_nulls(document), kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise ValueError(": ".join(filter(None, [path.strip(".`"), problem]))) from error


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
        case list():
            return [_without_nulls(inner) for inner in value]
    return value


def decode(document: Mapping[str, Any]) -> Run:
    """Decode a ``run.json`` of any known schema. Raises `ValueError` that names the field."""
    return typed(_migrated(document), Run)


def parse(run: str, text: bytes) -> Run:
    """Parse the ``run.json`` of ``run``. Raises `GapbenchError` if it is damaged or its schema is unknown."""
    try:
        document = load(text)
        check_schema(run, document.get("schema"), range(1, SCHEMA + 1))
        return decode(document)
    except ValueError as error:
        raise GapbenchError(f"run {run}: run.json is damaged ({error}); remove or restore it") from error


def dump(run: Run, before: bytes = b"{}") -> bytes:
    """Encode a run as its ``run.json``, with the fields of the one ``before`` that only a newer gapbench knows."""
    document = _joined(_migrated(load(before)), msgspec.to_builtins(run, order="deterministic"))
    # words of the command line need not be UTF-8
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
    migrated = {**document, "schema": SCHEMA}
    for name in ("notes", "warnings"):
        if isinstance(warnings := migrated.get(name), list):
            migrated[name] = [_warning(warning) if isinstance(warning, str) else warning for warning in warnings]
    match migrated.pop("ab", None):
        case None:
            pass
        case {"base": dict(base), "head": dict(head), **comparison}:
            migrated["sides"] = [{**base, "name": BASE}, {**head, "name": HEAD}]
            migrated["comparison"] = comparison
        case malformed:
            migrated["sides"] = malformed
    return migrated


def _warning(sentence: str) -> dict[str, str]:
    evidence, _, remedy = sentence.rpartition("; ")
    return {"topic": "", "evidence": evidence or remedy, "remedy": remedy if evidence else ""}


def check_schema(run: str, schema: object, readable: Sequence[int] = (TABLES,)) -> None:
    """Raise `GapbenchError` for a file of a run whose schema this gapbench cannot read."""
    if type(schema) is not int or schema not in readable:
        listed = " and ".join(map(str, readable))
        raise GapbenchError(
            f"run {run} has schema {schema}, this gapbench reads {listed}; use the gapbench that wrote it"
        )
