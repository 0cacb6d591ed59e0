"""The built-in plugins of mpibridge; they come through the same entry points as anybody's."""
