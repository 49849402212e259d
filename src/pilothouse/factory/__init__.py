"""The factory process: it claims jobs for its seats, runs them, and says how they ended.

    claim ─► seat: prepare ─► launch ─► watch ─► stop the tree ─► collect ─► verify ─► complete ─► claim …
                                          │
        heart: one beat for all ◄─────────┤ signs of life, at most one a second
          │                               ├── order to stop: SIGTERM, the grace, SIGKILL, "preempted"
          ├─ stop, lost, drain ──────────►├── lost: kill, say nothing
          └─ lease out on its own clock ─►├── kill, and say "lost" once the engine listens again
                                          ├── engine gone: SIGTERM, a short grace, SIGKILL, exit
                                          └── silence, NaN, time over: stop, and say so

It holds no database. It speaks to the engine through `ports.dispatch.Dispatch`: beside the engine as a line of JSON
messages over a socket pair (`channel`), whose end of file means that the engine is gone; from another machine over HTTP
(`remote`). Each attempt has a thread of its own, since a job dies with the thread that started it, and counts as ended
only when no process of it is left, so that the next one meets no port, file or device still taken.
"""
