"""What ``growth.py`` lets grow, how that is measured, judged and drawn."""
