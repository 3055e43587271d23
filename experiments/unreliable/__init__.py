"""The unreliable-supervision benchmark: students of teachers, or labels, that err."""
