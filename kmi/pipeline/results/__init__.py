"""What a boot test leaves for others: JUnit XML for CI, JSON for kmi, an in-toto statement for the world."""
