"""The factory process: it claims a job, runs it, and says how it ended.

    claim ─► prepare ─► launch ─► watch ─► stop the tree ─► collect ─► complete ─► claim …
                                    │
                                    ├── every change, and at least every third of the lease: renew
                                    ├── lease lost, or run out on the factory's own clock: kill, say nothing
                                    ├── engine gone: SIGTERM, a short grace, SIGKILL, exit
                                    └── silence, NaN, time over: stop, and say so

It holds no database. It speaks to the engine through `ports.dispatch.Dispatch`; in a process of its own that is a line
of JSON messages (`channel`), whose end of file means that the engine is gone. An attempt counts as ended only when no
process of it is left, so that the next one meets no port, file or device still taken.
"""
