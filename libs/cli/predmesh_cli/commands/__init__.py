"""The commands, one module a subject: each reads its options, asks, and shows; decisions are elsewhere."""
