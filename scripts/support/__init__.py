"""What the demonstration, the benchmarks and the tests share: real members on one machine."""
