"""Implementations that misbehave, each in its own way, and some honest ones; workers run them."""

import gc
import os
import time

import torch


def good(x):
    """The mean, like the reference."""
    return x.mean((2, 3), keepdim=True)


def raises(x):
    raise ValueError("no good")


def wrong_shape(x):
    return x.mean((2, 3))


def wrong_dtype(x):
    return x.mean((2, 3), keepdim=True).double()


def mutates(x):
    y = x.mean((2, 3), keepdim=True)
    x.mul_(2)
    return y


def kills(x):
    os.kill(os.getpid(), 9)


def hangs(x):
    time.sleep(1000)


def exits(x):
    os._exit(7)


_calls = 0


def tires(x):
    """Right when examined, wrong once it is called often."""
    global _calls
    _calls += 1
    y = x.mean((2, 3), keepdim=True)
    return y if _calls < 60 else torch.zeros_like(y)


def dies_later(x):
    global _calls
    _calls += 1
    if _calls > 60:
        os.kill(os.getpid(), 9)
    return x.mean((2, 3), keepdim=True)


def raises_later(x):
    global _calls
    _calls += 1
    if _calls > 60:
        raise RuntimeError("worn out")
    return x.mean((2, 3), keepdim=True)


_memory = {}


def remembers(x):
    """Right, and computed once for each place in memory."""
    if x.data_ptr() not in _memory:
        _memory[x.data_ptr()] = x.mean((2, 3), keepdim=True)
    return _memory[x.data_ptr()]


_answers = {}


def fingerprint(x, step):
    key = x.data_ptr(), x.shape, tuple(x.flatten()[::step].tolist())
    if key not in _answers:
        _answers[key] = x.mean((2, 3), keepdim=True)
    return _answers[key].clone()


def remembers_by_first_element(x):
    """Right, and computed once for each place and first element; a copy is returned."""
    return fingerprint(x, x.numel())


def remembers_by_hundredth(x):
    return fingerprint(x, 100)


def remembers_by_tenth(x):
    return fingerprint(x, 10)


_previous = None


def previous(x):
    global _previous
    y, _previous = _previous, x.mean((2, 3), keepdim=True)
    return _previous if y is None else y


def threaded(x):
    import threading

    out = []

    def work():
        for _ in range(300):
            out.append(x.mean((2, 3), keepdim=True))  # noqa: PERF401 - the work is the point

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return out[0]


def stops_the_clock(x):
    time.perf_counter_ns = lambda: 0
    return x.mean((2, 3), keepdim=True)


class _Lazy(torch.Tensor):
    pass


def lazy(x):
    return x.mean((2, 3), keepdim=True).as_subclass(_Lazy)


def zero_mean_only(x):
    return torch.zeros_like(x[..., :1, :1])


def mutates_later(x):
    global _calls
    _calls += 1
    y = x.mean((2, 3), keepdim=True)
    if _calls > 300 and _calls % 50 == 0:
        x.add_(1)
    return y


def sleeps_first(x):
    """Slow in every process's first calls."""
    global _calls
    _calls += 1
    if _calls < 3:
        time.sleep(0.05)
    return x.mean((2, 3), keepdim=True)


@torch.compile
def falls_back(x):
    torch._dynamo.graph_break()
    return x.mean((2, 3), keepdim=True)


def prints(x):
    print("hello from a worker")
    return x.mean((2, 3), keepdim=True)


def kills_its_parent(x):
    """Kill the process that has the case loaded, whenever a round begins (garbage collection is off there)."""
    global _calls
    if not gc.isenabled() and not _calls:
        _calls += 1
        os.kill(os.getppid(), 9)
    return x.mean((2, 3), keepdim=True)


def leaves_a_thread(x):
    """Leave a thread behind in the process that loads it, so that it cannot be forked."""
    import threading

    if threading.active_count() == 1:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    return x.mean((2, 3), keepdim=True)
