"""Whatever happens: beam off first, each wait has an end, what was moved is stopped."""
