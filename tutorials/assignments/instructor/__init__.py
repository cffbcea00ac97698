"""What students do not get: assignment 4 without its defects, the defects, and a solution."""
