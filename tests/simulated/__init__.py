"""A simulated accelerator: what it does, and how long that takes, is known exactly, so clocks can be held to it.

`virtual_time` is the host's time, which only simulated work lets pass. `speed` (ramp-up, throttling), `cache` and
`kernels` say how long a kernel takes; `device` has streams, queues and graphs; `events` reads its time; `runtime`
makes all of it look like torch, so that gapbench's own device classes drive it.
"""
