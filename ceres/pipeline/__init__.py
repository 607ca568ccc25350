"""How a pair gets from the archive to a published result: plan, stages, leases, publication."""
