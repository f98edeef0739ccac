"""The database side: the clock, leases, the ordering rules, and the writer of mirrored rows. No HTTP."""
