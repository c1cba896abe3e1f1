"""What a method is: its facts, its options, its rules."""
