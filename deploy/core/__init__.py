"""What hosts are declared to be, and what follows from it: pure, on the operator's side."""
