"""From settings to a built product; with the factory's own process, the only place that names concrete adapters."""
