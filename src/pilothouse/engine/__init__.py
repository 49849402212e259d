"""The one writer, the ready heaps, the sweeps."""
