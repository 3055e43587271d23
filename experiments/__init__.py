"""Research that is not part of the installed package: studies, speed, benchmarks and the GPU list."""
