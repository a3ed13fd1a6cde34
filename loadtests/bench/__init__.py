"""What the load tests share: requests, load generators, and what they measured."""
