"""What can happen to the files of a store: to their bytes, to the JSON and to the tables in them, and beside them."""

import contextlib
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

TEXTS = st.sampled_from(
    ["", " ", "\0", "\x1b[2J", "<script>", "nothing", "mean", "latest", "../..", "é" * 300, "\ud800", "ok", "nan",
     "1/2", "2026-11-22T10:11:12Z", "99999-99-99", "0001-01-01T00:00:00+23:59", "{}", "a\nb",
     "8x64x7x7-float32-contiguous-cpu-forward-t1", "9x9x9-int8-flat-x-y-t0"]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [0, -1, 1, 0.5, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf, 2**31, 2**63, -(2**70), 10**400]
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.one_of(
    LEAVES,
    st.sampled_from([[], {}, [[]], [{}], {"": {}}]),
    st.lists(LEAVES, max_size=3),
    st.dictionaries(TEXTS, LEAVES, max_size=3),
    st.builds(lambda depth: json.loads("[" * depth + "]" * depth), st.sampled_from([60, 400])),
)


@st.composite
def store(draw, folder, most=2, within=""):
    """Damage up to ``most`` files below ``folder`` and ``within`` it."""
    for _ in range(draw(st.integers(1, most))):
        files = [one for one in sorted(folder.rglob("*")) if one.is_file() and within in str(one.relative_to(folder))]
        if files:
            file(draw, draw(st.sampled_from(files)))


def file(draw, path):
    """Damage a file in a way that is of its kind, or in one that is of any."""
    kind = {".json": document, ".parquet": table}.get(path.suffix, content)
    draw(st.sampled_from([kind] * 6 + [content, around]))(draw, path)


def content(draw, path):
    """Cut a file, empty it, flip a bit, or put something else in its place."""
    old = path.read_bytes()
    at = draw(st.integers(0, max(len(old) - 1, 0)))
    path.write_bytes(
        draw(
            st.sampled_from(
                [b"", old[:at], old[:at] + bytes([old[at] ^ 1 << at % 8] if old else b"") + old[at + 1 :], old + old,
                 b"\xff\xfe\0", b"null", b"[]", b"{}", b"[" * 100_000, b'{"schema": 1}']
            )
        )
    )  # fmt: skip


def around(draw, path):
    """Remove a file, put a folder in its place, or lay things beside it that belong nowhere."""
    match draw(st.integers(0, 4)):
        case 0:
            path.unlink()
        case 1:
            path.unlink()
            path.mkdir()
        case 2:
            (
                path.parent / draw(st.sampled_from(["a b", "é", "-", ".x", "%s", "run.json.12.part", "000009.parquet"]))
            ).write_text("?")
        case 3:
            (path.parent / draw(st.sampled_from(["empty", "20260101T000000Z-nogit-0000", "-h", "shards"]))).mkdir(
                exist_ok=True
            )
        case 4:
            with contextlib.suppress(FileExistsError):  # of another damage
                (path.parent / "link").symlink_to(path.parent)


def document(draw, path):
    """Change a value of a JSON document: for one of another kind, or for one that is as good as missing."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError):  # it was damaged before
        return content(draw, path)
    places = list(_places(found))
    for _ in range(draw(st.integers(1, 2))):
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 5)):
            case 0 if isinstance(holder, dict):
                holder.pop(key, None)
            case 1 if isinstance(holder, dict):
                holder[draw(TEXTS)] = draw(VALUES)
            case _:
                holder[key] = draw(VALUES)
    path.write_text(json.dumps(found, ensure_ascii=True))
    return None


def _places(value, depth=0):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield value, key
        if isinstance(value, dict) or key < 3:  # of a list the first ones do
            yield from _places(one, depth + 1)


def table(draw, path):
    """Change a column of a Parquet file, or its rows."""
    try:
        found = pq.read_table(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return content(draw, path)
    for _ in range(draw(st.integers(1, 2))):
        if found.num_columns:
            found = draw(st.sampled_from([_column] * 3 + [_rows]))(draw, found)
    try:
        pq.write_table(found, path, compression="zstd")
    except (pa.ArrowException, OSError):
        return None
    return None


def _column(draw, found):
    at = draw(st.integers(0, found.num_columns - 1))
    name, column = found.column_names[at], found.column(at)
    match draw(st.integers(0, 5)):
        case 0:
            return found.remove_column(at)
        case 1:
            kind = draw(
                st.sampled_from(
                    [pa.int64(), pa.string(), pa.float32(), pa.large_string(), pa.timestamp("ns"), pa.list_(pa.null())]
                )
            )
            return found.set_column(at, name, pa.nulls(found.num_rows, kind))
        case 2:
            return found.set_column(at, name, pa.nulls(found.num_rows, column.type))
        case 3:
            return found.append_column(draw(st.sampled_from([name, "new", ""])), column)
        case _:
            try:
                values = column.to_pylist()
            except UnicodeDecodeError:  # it was damaged before
                values = [None] * found.num_rows
            for _ in range(draw(st.integers(1, 3)) if values else 0):
                values[draw(st.integers(0, len(values) - 1))] = draw(TEXTS if column.type == pa.string() else NUMBERS)
            if values and draw(st.booleans()):
                values = [values[0]] * len(values)
            try:
                text = (
                    [one if one is None else one.encode("utf-8", "surrogatepass") for one in values]
                    if column.type == pa.string()
                    else None
                )
                drawn = (
                    pa.array(text, pa.binary()).view(pa.string()) if text is not None else pa.array(values, column.type)
                )
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                drawn = pa.nulls(found.num_rows, column.type)
            return found.set_column(at, name, drawn)


def _rows(draw, found):
    match draw(st.integers(0, 4)):
        case 0:
            return found.slice(0, 0)
        case 1:
            return pa.concat_tables([found, found])
        case 2:
            return pa.concat_tables([found, found.slice(0, 1)])
        case 3:
            return found.slice(draw(st.integers(0, found.num_rows)))
        case _:
            return found.replace_schema_metadata(
                draw(st.sampled_from([None, {"gapbench_schema": "2"}, {"gapbench_schema": "²"}]))
            )
