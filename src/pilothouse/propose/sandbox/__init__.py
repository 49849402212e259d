"""Running a command that is not trusted, so that it can write one folder and reach nothing else.

`run.confined` starts `launch` in a process of its own and gives it a `Plan` through a pipe. `launch` forks, ties the
child down (limits, no new privileges, Landlock, a filter of system calls), executes the command in it, watches the
whole tree and ends it. With `bwrap` the same filter and limits hold inside namespaces that bubblewrap makes.
`level.level()` says what this machine can do; what a level leaves open is named in it, never passed over.
"""
