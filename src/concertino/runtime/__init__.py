"""How a process ends, and what it has of its computer: processors, compiled code, late imports."""
