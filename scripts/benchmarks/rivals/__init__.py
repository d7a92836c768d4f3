"""csfs beside what a user would choose instead, two hosts each, in one run."""
