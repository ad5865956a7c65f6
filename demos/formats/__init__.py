"""What is known of foreign formats: which file lies where and what its fields mean."""
