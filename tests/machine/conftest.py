"""A stand-in for NVIDIA's driver library, and small trees in the place of /proc and /sys."""

import ctypes
import subprocess
from pathlib import Path

import pynvml
import pytest

SOURCE = Path(__file__).parent / "telemetry" / "nvml_standin.c"
LIBRARY = "libnvidia-ml.so.1"


class Driver:
    """The stand-in's setters: what the GPU does from now on."""

    def __init__(self, folder):
        self.folder = folder
        self._library = ctypes.CDLL(str(folder / LIBRARY))
        self._library.standin_reset()

    def count(self, count):
        self._library.standin_count(count)

    def clocks(self, gpu, sm, memory=2619):
        self._library.standin_clocks(gpu, sm, memory)

    def reasons(self, gpu, mask):
        self._library.standin_reasons(gpu, ctypes.c_ulonglong(mask))

    def heat(self, gpu, celsius, milliwatts):
        self._library.standin_heat(gpu, celsius, milliwatts)

    def process(self, gpu, pid):
        self._library.standin_process(gpu, pid)

    def modes(self, gpu, mig=(0, 0), ecc=(1, 1)):
        self._library.standin_modes(gpu, *mig, *ecc)

    def compute_mode(self, gpu, mode):
        self._library.standin_compute_mode(gpu, mode)

    def refuse(self, code, call=""):
        self._library.standin_refuse(call.encode(), code)

    @property
    def started(self):
        """How often NVML was initialised and not shut down."""
        return self._library.standin_started()


@pytest.fixture(scope="session")
def builds(tmp_path_factory):
    """Folders with a library each: of a new driver, and of one that lacks the newest calls."""
    folders = {}
    for name, flags in {"new": [], "old": ["-DOLD_DRIVER"]}.items():
        folders[name] = tmp_path_factory.mktemp(name)
        library = folders[name] / LIBRARY
        subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", *flags, "-o", library, SOURCE], check=True)
    return folders


@pytest.fixture
def load(monkeypatch):
    """Let the bindings find their library in a folder, as if it were the loader's path."""

    def load(folder):
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(folder / name)))

    return load


@pytest.fixture
def driver(builds, load):
    """The new driver; whatever a test opens it must close."""
    load(builds["new"])
    driver = Driver(builds["new"])
    yield driver
    assert driver.started == 0


@pytest.fixture
def old_driver(builds, load):
    load(builds["old"])
    return Driver(builds["old"])


@pytest.fixture
def no_driver(tmp_path, load):
    load(tmp_path)


@pytest.fixture
def tree(tmp_path):
    """Write files under a folder that stands for the file system's root, and return it."""

    def tree(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return tree
