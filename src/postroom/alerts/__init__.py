"""What somebody has to look at, until it is over; the operator is told when it begins and when it ends."""
