"""What people say of serving, and the runs that say whether it is so."""
