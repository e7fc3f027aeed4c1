"""What every room uses: atomic writes, caches, worker processes, locks, the number of processors."""
