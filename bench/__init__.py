"""The benchmark: `make bench` measures the product beside plain proxies, in the same run."""
