"""What the operations need from the outside, said as Protocols."""
