"""The database side: clock and leases, the rules of order, and the one writer of mirrored rows. No HTTP."""
