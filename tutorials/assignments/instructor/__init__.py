"""What students do not get: the code of assignment 4 without its defects, the defects, and a solution."""
