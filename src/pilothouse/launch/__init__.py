"""Where a job runs.

An attempt is a command in a session and process group of its own. Its processes are told from all others by three
marks, any of which suffices: they descend from the leader, they sit in its session, or they carry its cookie
`PILOTHOUSE_ATTEMPT=<job>:<epoch>` together with its `PILOTHOUSE_RUN_DIR` in their environment. So a grandchild that
called setsid, or forked twice to lose its parent, is found all the same, on Linux and macOS.

Stopping is SIGTERM to the group, the grace, then SIGKILL to every process with a mark until none is left; only then
has the attempt ended. On Linux the leader also dies with the factory: PR_SET_PDEATHSIG is set by `setpriv` of
util-linux, or by `shim` where that is missing. What that does not reach (the leader's children, macOS, a factory killed
in the millisecond before) is found by its cookie at the next start, see `factory.orphans`.
"""
