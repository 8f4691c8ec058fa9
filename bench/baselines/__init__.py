"""What the product is measured against: three plain proxies that store nothing."""
