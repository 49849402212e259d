"""The fleet measured: its own figures, and those of other queues beside them on the same machine in the same run."""
