"""What every database must keep: each case is tried on files and on PostgreSQL."""
